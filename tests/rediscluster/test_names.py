"""Key names, URLs and options: what needs no server."""

import pytest
from redis.crc import key_slot

from service.rediscluster import ConfigurationError, message_format
from service.rediscluster.keys import QueueKeys, escape, group_key, task_key
from service.rediscluster.options import masked, parse
from service.rediscluster.worker import unknown_delay


def slot(key: str) -> int:
    return key_slot(key.encode())


@pytest.mark.parametrize("name", ["data", "a{b}c", "}{", "%7B", "naïve ☃", "x" * 300, "data|2", " ", "{}"])
def test_all_keys_of_a_queue_share_a_slot(name: str) -> None:
    keys = QueueKeys("broker:", name)
    assert len({slot(key) for key in (*keys.every, keys.wake)}) == 1
    assert len(set(keys.every) | {keys.wake}) == 11


def test_queues_spread_over_the_shards() -> None:
    thirds = {slot(QueueKeys("broker:", f"queue{n}").ready) * 3 // 16384 for n in range(50)}
    assert thirds == {0, 1, 2}


def test_a_part_is_not_a_queue_of_that_name() -> None:
    part = QueueKeys("broker:", "data", 2)
    for name in ("data|2", "data.2", "data%7C2", "data2"):
        assert QueueKeys("broker:", name).ready != part.ready


def test_escaping_is_reversible_and_never_empty() -> None:
    names = ["a%7Bb", "a{b", "a}b", "a%b", "a|b"]
    assert len({escape(name) for name in names}) == len(names)
    with pytest.raises(ValueError, match="must not be empty"):
        escape("")


def test_a_chord_lives_in_one_slot_and_results_spread() -> None:
    assert len({slot(group_key("result:", "g1", kind)) for kind in ("", ".j", ".t", ".s", ".d", ".c")}) == 1
    assert len({slot(task_key("result:", f"t{n}")) for n in range(20)}) > 10


def test_url_with_credentials_and_several_hosts() -> None:
    options = parse("redisclusters://worker:p%40ss%3A@one:7000,two,[::1]:7002", {"lease": 5})
    assert options.seeds == (("one", 7000), ("two", 6379), ("::1", 7002))
    assert (options.username, options.password, options.tls, options.lease) == ("worker", "p@ss:", True, 5)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("rediscluster://h:6379/1", {}, "a cluster has database 0 only"),
        ("redis://h:6379", {}, "expected rediscluster:// or redisclusters://"),
        ("rediscluster://h:notaport", {}, "port 'notaport' of host 'h'"),
        ("rediscluster://h:70000", {}, "port '70000'"),
        ("rediscluster://", {}, "names no host"),
        ("rediscluster://h?lease=3", {}, "takes no query"),
        ("rediscluster://h", {"visibility_timeout": 3600}, "unknown transport option 'visibility_timeout'"),
        ("rediscluster://h", {"lease": 0}, "lease: 0 is not a positive number"),
        ("rediscluster://h", {"lease": "60"}, "lease: '60' is not a positive number"),
        ("rediscluster://h", {"delivery_limit": -1}, "delivery_limit"),
    ],
)
def test_bad_urls_and_options_are_refused(url: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        parse(url, options)


def test_passwords_are_masked() -> None:
    assert masked("rediscluster://worker:secret@h:1,i:2") == "rediscluster://worker:**@h:1,i:2"
    assert masked("rediscluster://h:1") == "rediscluster://h:1"
    assert "secret" not in repr(parse("rediscluster://worker:secret@h:1"))


def test_due_time_is_read_from_eta() -> None:
    assert message_format.due_ms({"headers": {"eta": "1970-01-01T00:00:01.500000+00:00"}}) == 1500
    assert message_format.due_ms({"headers": {"eta": "1970-01-01T02:00:01+02:00"}}) == 1000
    for headers in ({}, {"eta": None}, {"eta": "soon"}, None):
        assert message_format.due_ms({"headers": headers}) == 0


@pytest.mark.parametrize(
    ("wanted", "routing_key", "answer"),
    [
        ("", "task.sent", True),
        ("#", "task.sent", True),
        ("task.#", "task.sent", True),
        ("task.#", "task", True),
        ("task.*", "task.sent", True),
        ("task.*", "task.sent.now", False),
        ("worker.#", "task.sent", False),
        ("worker.online", "workerXonline", False),
    ],
)
def test_fanout_bindings_filter_by_routing_key(wanted: str, routing_key: str, answer: bool) -> None:
    assert message_format.matches(wanted, routing_key) is answer


def test_an_unknown_task_is_offered_for_a_quarter_of_an_hour() -> None:
    delays: list[float] = []
    while (delay := unknown_delay(len(delays))) is not None:
        delays.append(delay)
    assert delays[:5] == [5, 10, 20, 40, 60]
    assert 14 * 60 < sum(delays) <= 15 * 60
