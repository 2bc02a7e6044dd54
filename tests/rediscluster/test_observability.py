"""What somebody on call sees: counters, log lines and connection names that tell what happened where."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Producer, Queue
from redis import exceptions
from redis.credentials import CredentialProvider

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector, ClusterUnavailableError, TransportStats, activity, transport_stats
from service.rediscluster.broker import INBOX_BYTES
from service.rediscluster.cluster import Cluster
from service.rediscluster.keys import fanout_key
from service.rediscluster.naming import client_name
from service.rediscluster.options import parse
from service.rediscluster.session import Session
from service.rediscluster.topology import changes
from service.rediscluster.watch import FanoutReader, Subscription
from tests.rediscluster.faultapp import Plan, make_app
from tests.rediscluster.faultkit import ROOT, Workers, end_leases, eventually, wait_replicated

SECRET = "what-a-task-was-given"


@pytest.fixture
def name() -> str:
    return f"seen-{uuid4().hex}"


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.rediscluster")


def counted(before: TransportStats) -> dict[str, int]:
    """What was counted since then."""
    now = vars(transport_stats())
    return {event: now[event] - number for event, number in vars(before).items() if now[event] != number}


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [message for message in caplog.messages if word in message]


# -- topology ---------------------------------------------------------------------------------------------------------


def test_a_failover_is_told_with_its_slots_from_where_to_where(
    broken: LocalCluster, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    inspector = BrokerInspector(broken.url)
    inspector.stats(name)
    home = broken.primary_for(f"broker:{{{name}}}:meta")
    (part,) = inspector.parts(name)
    assert part.node == f"127.0.0.1:{home.port}"
    before = transport_stats()
    (replica,) = broken.replicas_of(home)
    broken.failover(replica)
    inspector.stats(name)
    (told,) = lines(caplog, "topology changed")
    expected = rf"topology changed: slots \d+-\d+: 127.0.0.1:{home.port} -> 127.0.0.1:{replica.port}"
    assert re.fullmatch(expected, told), told
    counts = counted(before)
    assert (counts["topology_changes"], counts["moved"]) == (1, 1)
    assert counts["topology_refreshes"] >= 1
    assert inspector.parts(name)[0].node == f"127.0.0.1:{replica.port}"
    inspector.close()


def test_a_lost_shard_is_told_once_and_its_return_with_the_time_it_took(
    broken: LocalCluster, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    inspector = BrokerInspector(broken.url)
    other = BrokerInspector(broken.url, {"client_name": "other"})
    inspector.stats(name), other.stats(name)
    home = broken.primary_for(f"broker:{{{name}}}:meta")
    wait_replicated(broken, home)
    before = transport_stats()
    broken.kill(home)
    # Two clients of one process ask all the time.
    waiting = threading.Thread(target=other.stats, args=(name,))
    waiting.start()
    inspector.stats(name)
    waiting.join()
    shard = rf"shard 127.0.0.1:{home.port} \(slots [\d, -]+\)"
    (lost,) = lines(caplog, "is lost")
    assert re.match(rf"{shard} is lost: ", lost), lost
    (back,) = lines(caplog, "is back")
    assert re.fullmatch(rf"{shard} is back after \d+\.\d s, served by 127.0.0.1:\d+", back), back
    counts = counted(before)
    assert counts["shards_lost"] == 1
    assert "shards_down" not in counts
    assert counts["connections_lost"] > 1
    for opened in (inspector, other):
        opened.close()


def test_changes_are_told_for_each_pair_of_primaries() -> None:
    a, b, c = ("a", 1), ("b", 2), ("c", 3)
    assert changes([(0, 9, a), (10, 19, b)], [(0, 9, a), (10, 19, b)]) == []
    assert changes([(0, 19, a)], [(0, 9, a), (10, 19, a)]) == []
    assert changes([(0, 9, a), (10, 19, b)], [(0, 4, a), (5, 5, c), (6, 9, a), (10, 19, c)]) == [
        "slot 5: a:1 -> c:3",
        "slots 10-19: b:2 -> c:3",
    ]
    assert changes([(0, 9, a)], [(0, 3, a), (6, 12, a)]) == ["slots 4-5: a:1 -> nobody", "slots 10-12: nobody -> a:1"]
    many = [(n, n, b if n % 2 else a) for n in range(20)]
    assert changes([(0, 19, a)], many) == ["slots 1, 3, 5, 7 and 6 more ranges: a:1 -> b:2"]


class Rotating(CredentialProvider):
    """Credentials that change."""

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password

    def get_credentials(self) -> tuple[str, str]:
        return self.user, self.password


def test_refused_credentials_are_told_without_the_password(
    cluster: LocalCluster, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Rotating(f"rotating-{uuid4().hex[:8]}", "first-secret")

    def everywhere(*command: str) -> None:
        for node in cluster.nodes:
            node.command(*command)

    everywhere("ACL", "SETUSER", provider.user, "on", ">first-secret", "~*", "&*", "+@all")
    inspector = BrokerInspector(f"rediscluster://{cluster.url.rpartition('@')[2]}", {"credential_provider": provider})
    try:
        inspector.stats(name)
        before = transport_stats()
        everywhere("ACL", "SETUSER", provider.user, "resetpass", ">second-secret")
        everywhere("CLIENT", "KILL", "USER", provider.user)
        home = f"127.0.0.1:{cluster.primary_for(f'broker:{{{name}}}:meta').port}"

        def refusals() -> list[str]:
            return [line for line in lines(caplog, "refuses our credentials") if f"shard {home} " in line]

        def correct() -> None:
            eventually(refusals, "the refusal is told")
            provider.password = "second-secret"

        late = threading.Thread(target=correct)
        late.start()
        inspector.stats(name)
        late.join()
    finally:
        inspector.close()
        everywhere("ACL", "DELUSER", provider.user)
    (refused,) = refusals()
    assert refused.endswith("invalid username-password pair or user is disabled.")
    assert [line for line in lines(caplog, "is back") if f"shard {home} " in line]
    assert counted(before)["credentials_refused"] >= 1
    assert "-secret" not in caplog.text


# -- messages ---------------------------------------------------------------------------------------------------------


def publish(connection: Connection, queue: str, task_id: str, padding: int = 0) -> None:
    Queue(queue)(connection.default_channel).declare()
    Producer(connection.default_channel).publish(
        [SECRET, "x" * padding], routing_key=queue, headers={"id": task_id, "task": "shop.pay"}
    )


def test_messages_of_a_dead_holder_are_told_with_queue_and_task(
    cluster: LocalCluster, connection: Connection, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(connection, name, "task-1")
    options = {"lease": 3600, "socket_timeout": 60}
    dead, heir = (Session(parse(cluster.url, options | {"client_name": who})) for who in ("dead", "heir"))
    before = transport_stats()
    queue = dead.broker.keys(name)
    # It takes a message, and renews nothing.
    dead.pump.stop()
    (held,) = getattr(dead.settle(queue, 1), "deliveries", [])
    end_leases(heir.broker, queue)
    inherited = heir.settle(queue, 1)
    assert inherited is not None
    assert inherited.deliveries, "another one gets the message"
    home = f"127.0.0.1:{cluster.primary_for(queue.meta).port}"
    (took,) = lines(caplog, "took")
    assert took == (
        f"queue {name} on {home}: took 1 messages that a holder had lost or requeued, "
        f"the last shop.pay[task-1] (message {held.ack.message_id}), lost 1 times of at most 5"
    )
    # The holder was not dead after all, and hears of it once.
    for _ in range(3):
        assert dead.renew(dead.broker)
    (told,) = lines(caplog, "ended")
    assert told.startswith(f"queue {name} on {home}: 1 leases of ours ended")
    assert told.endswith(f"the last shop.pay[task-1] (message {held.ack.message_id})")
    counts = counted(before)
    assert (counts["taken_again"], counts["leases_lost"]) == (1, 1)
    assert SECRET not in caplog.text
    for session in (dead, heir):
        session.close()


def test_dead_letters_are_told_with_queue_task_and_reason(
    connection: Connection, name: str, inspector: BrokerInspector, caplog: pytest.LogCaptureFixture
) -> None:
    before = transport_stats()
    publish(connection, name, "task-2")
    message = Queue(name)(connection.default_channel).get()
    assert message is not None
    message.reject()
    (told,) = lines(caplog, "dead list")
    assert re.fullmatch(
        rf"queue {name} on 127.0.0.1:\d+: 1 messages go to the dead list, "
        r"the last shop.pay\[task-2\] \(message \w+\), rejected",
        told,
    ), told
    assert counted(before)["buried"] == 1
    assert (inspector.stats(name).dead, inspector.stats(name).buried) == (1, 1)
    assert SECRET not in caplog.text


def test_a_message_requeued_too_often_is_told_as_dead(
    connection: Connection, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(connection, name, "task-3")
    queue = Queue(name)(connection.default_channel)
    times = 0
    while (message := queue.get()) is not None:
        message.reject(requeue=True)
        times += 1
    assert times == 6
    (told,) = lines(caplog, "dead list")
    assert "shop.pay[task-3]" in told
    assert told.endswith(", delivery-limit")


def test_publishes_that_were_repeated_or_are_unknown_are_told(
    connection: Connection, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(connection, name, "task-4")
    channel: Any = connection.default_channel
    opened = channel.session.broker.cluster
    original, losses = opened.script_once, [1]

    def lossy(*args: Any) -> Any:
        reply = original(*args)
        if args[0].name == "publish" and losses[0]:
            losses[0] -= 1
            raise exceptions.TimeoutError("the reply was lost")
        return reply

    before = transport_stats()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened, "script_once", lossy)
        # Too large for the inbox, which tells repeated ones apart later.
        publish(connection, name, "task-5", INBOX_BYTES)
        patch.setattr(opened, "options", parse(connection.as_uri(include_password=True), {"retry_deadline": 0.01}))
        losses[0] = 1
        with pytest.raises(ClusterUnavailableError):
            publish(connection, name, "task-6", INBOX_BYTES)
    (repeated,) = lines(caplog, "had been stored")
    assert repeated.endswith("the last shop.pay[task-5]")
    (unknown,) = lines(caplog, "may have been stored")
    assert "shop.pay[task-6]" in unknown
    counts = counted(before)
    assert (counts["publishes_repeated"], counts["publishes_unknown"]) == (1, 1)
    assert SECRET not in caplog.text


def test_what_happens_often_is_told_at_once_and_then_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = activity.Summary(logging.getLogger("service.rediscluster.test"), logging.INFO, "%s: %d, the last %s")
    for number in range(1000):
        summary.add("here", str(number))
    summary.add("there", "x")
    assert caplog.messages == ["here: 1, the last 0", "there: 1, the last x"]
    monkeypatch.setattr(activity, "PERIOD", 0.0)
    activity.tell_summaries()
    activity.tell_summaries()
    assert [line for line in caplog.messages if line.startswith("here: ")][1:] == ["here: 999, the last 999"]


# -- the lease thread -------------------------------------------------------------------------------------------------


def test_failing_renewals_are_told_once_and_so_is_their_end(
    cluster: LocalCluster, connection: Connection, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(connection, name, "task-7")
    session = Session(parse(cluster.url, {"client_name": name}))
    session.pump.stop()
    assert session.settle(session.broker.keys(name), 1)
    before = transport_stats()

    def fail(*_: object) -> None:
        raise exceptions.ConnectionError("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.broker, "renew", fail)
        assert [session.renew(session.broker) for _ in range(3)] == [False] * 3
    assert session.renew(session.broker)
    assert session.renew(session.broker)
    home = f"127.0.0.1:{cluster.primary_for(session.broker.keys(name).meta).port}"
    assert lines(caplog, "not renewed") == [f"queue {name} on {home}: 1 leases not renewed, trying again: gone"]
    (again,) = lines(caplog, "renewed again")
    assert again.startswith(f"queue {name} on {home}: leases renewed again after ")
    assert counted(before)["renewals_failed"] == 3
    session.close()


def test_the_start_of_the_lease_thread_is_told_also_after_a_fork(cluster: LocalCluster) -> None:
    script = """
import logging, os, sys
from service.rediscluster.options import parse
from service.rediscluster.session import close_all, session_for
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
options = parse(sys.argv[1])
session_for(options).pump.start()
parent = os.getpid()
if child := os.fork():
    os.waitpid(child, 0)
    print(f"parent {parent}")
else:
    session_for(options).pump.start()
close_all()
"""
    done = subprocess.run(
        [sys.executable, "-u", "-c", script, cluster.url], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second, told = done.stdout.splitlines()
    assert first == "lease thread started: leases of 60 s are renewed every 20.0 s"
    assert f", after a fork of process {told.removeprefix('parent ')}: " in second


def test_the_lease_thread_never_waits_for_a_lock_of_eventlet() -> None:
    """Handlers' locks are green there: a native thread that waits for one is never woken."""
    script = """
import eventlet
eventlet.monkey_patch()
import io, logging, time
stream = io.StringIO()
logging.basicConfig(level=logging.INFO, stream=stream, format="%(message)s")
from service.rediscluster.logs import logger_for, write_left
from service.rediscluster.native import start_thread
logger, written, ends = logger_for("test"), [], time.monotonic() + 20
def native():
    for number in range(500):
        logger.info("native")
        written.append(number)
def green():
    while len(written) < 500 and time.monotonic() < ends:
        for _ in range(100):
            logger.info("green")
        eventlet.sleep(0)
start_thread(native)
for thread in [eventlet.spawn(green) for _ in range(3)]:
    thread.wait()
write_left()
print(len(written), stream.getvalue().count("native"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "500 500\n", done.stdout + done.stderr


def test_a_fanout_reader_that_was_further_than_its_new_primary_tells_so(
    connection: Connection, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel: Any = connection.default_channel
    stream = fanout_key("broker:", name)
    channel.broker.broadcast(stream, "", b"{}")
    reader = FanoutReader(channel.receiver, [Subscription(name, stream, "9999999999999-0")])
    reader.failures = 1
    before = transport_stats()
    reader.command(channel.broker)
    reader.command(channel.broker)
    (told,) = lines(caplog, "broadcasts in")
    assert stream in told
    assert "9999999999999-0" in told
    assert counted(before)["fanout_clamped"] == 1


# -- connections ------------------------------------------------------------------------------------------------------


def names(cluster: LocalCluster) -> set[str]:
    return {
        client["name"]
        for node in cluster.nodes
        for client in node.admin.client_list()
        if client["user"] == cluster.username
    }


def test_connections_tell_their_worker_and_what_they_are_for(
    cluster: LocalCluster, name: str, tmp_path: Path, workers: Workers
) -> None:
    plan = Plan(cluster.url, str(tmp_path), name)
    app = make_app(plan)
    worker = workers(plan, "solo", 1)
    result = app.send_task("record", (1,))
    assert result.get(timeout=30) == 1

    def purposes() -> set[str]:
        told = [re.fullmatch(rf"\d+@fault:{worker.pid}:(\w+)", connection) for connection in names(cluster)]
        return {match[1] for match in told if match}

    eventually(lambda: purposes() >= {"commands", "renew", "wake", "fanout", "results"}, "the worker's connections")
    host = os.uname().nodename
    assert {f"{host}:{os.getpid()}:subscribe", f"{host}:{os.getpid()}:results"} <= names(cluster)
    app.close()


def test_a_name_is_valid_whatever_the_option_says(cluster: LocalCluster) -> None:
    opened = Cluster(parse(cluster.url, {"client_name": "the shop,\nü"}))
    told = opened.call("any", "CLIENT", "GETNAME").decode()
    opened.close()
    assert told == f"the-shop,--:{os.uname().nodename}:{os.getpid()}:commands"
    assert client_name("wake").endswith(f":{os.getpid()}:wake")


def test_a_child_names_its_connections_after_itself(cluster: LocalCluster) -> None:
    """Also those that it makes from a pool of its parent."""
    opened = Cluster(parse(cluster.url))
    opened.call("any", "CLIENT", "GETNAME")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, opened.call("any", "CLIENT", "GETNAME"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 1000).decode()
    for descriptor in (reading, writing):
        os.close(descriptor)
    opened.close()
    assert told.endswith(f":{child}:commands")


def test_a_name_costs_one_command_for_each_connection(cluster: LocalCluster, name: str) -> None:
    key = f"broker:{{{name}}}:any"
    home = cluster.primary_for(key)

    def named() -> int:
        return int(home.admin.info("commandstats").get("cmdstat_client|setname", {"calls": 0})["calls"])

    opened = Cluster(parse(cluster.url))
    opened.call(key, "EXISTS", key)
    before = named()
    for _ in range(20):
        opened.call(key, "EXISTS", key)
    after = named()
    opened.close()
    assert after == before
