"""What a wrong configuration says, and that it says everything at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from infra import config
from infra.config.defaults import defaults
from infra.plan.fargate import SIZES
from scripts.render import RenderError
from service.fleet import DEAD_LETTER_QUEUE, QUEUES
from tests.infra.renders import Renders

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop-AbCdEf"
POLICY = "arn:aws:iam::123456789012:policy"
VPC, SUBNETS = "vpc-12345678", ["subnet-12345678", "subnet-87654321"]
DOCS = Path(__file__).parents[2] / "docs" / "infrastructure.md"


def complaints(document: object, stack: str = "staging") -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(stack, document)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (
            {"queues": {"data_queue": {"cpu": 300}}},
            "queues.data_queue.cpu: 300 is not a Fargate size; valid: 256, 512, 1024, 2048, 4096, 8192, 16384",
        ),
        (
            {"queues": {"data_queue": {"cpu": 256, "memory": 4096}}},
            "queues.data_queue.memory: 4096 MiB is not a Fargate size; valid for cpu 256: 512, 1024, 2048",
        ),
        (
            {"queues": {"celery": {"containerMemory": 4096}}},
            "queues.celery.containerMemory: 4096 is more than memory 2048; at most 2048 MiB",
        ),
        (
            {"queues": {"celery": {"containerCpu": 2048}}},
            "queues.celery.containerCpu: 2048 is more than cpu 1024; at most 1024 units",
        ),
        (
            {"queues": {"celery": {"memoryReservation": 1025}}},
            "queues.celery.memoryReservation: 1025 is more than containerMemory 1024; at most 1024 MiB",
        ),
        ({"queues": {"celery": {"min": 9, "max": 8}}}, "queues.celery.max: 8 is less than min 9; at least 9"),
        (
            {"queues": {"dataqueue": {"min": 1}}},
            (
                "queues.dataqueue.priority: is missing; a queue of your own says its priority, 0 to 10; built in are "
                "high_priority_queue, sync_queue, workflow_queue, data_queue, monitoring_queue, celery, dead_letter"
            ),
        ),
        (
            {"queues": {"sync_queue": {"autoscaleMin": 1}}},
            "queues.sync_queue.autoscaleMin: only the prefork pool shrinks, not gevent; leave it out",
        ),
        (
            {"queues": {"celery": {"environment": {"FLEET_POOL": "solo"}}}},
            "queues.celery.environment.FLEET_POOL: variables that start with FLEET_, AWS_ or ECS_ are set by the stack",
        ),
        (
            {"queues": {"celery": {"secrets": {"TOKEN": "hunter2"}}}},
            "queues.celery.secrets.TOKEN: 'hunter2' is not the ARN of a secret",
        ),
        (
            {"queues": {"celery": {"timeLimit": 3300, "softTimeLimit": 3300}}},
            "queues.celery.softTimeLimit: 3300 s must be less than timeLimit 3300",
        ),
        (
            {"shutdown": {"stopTimeout": 121}},
            "shutdown.stopTimeout: 121 is wrong; it should be less than or equal to 120",
        ),
        (
            {"shutdown": {"grace": 111}},
            "shutdown.grace: 111 s leaves no time to return work; at most 110 with stopTimeout 120",
        ),
        (
            {"redis": {"shard": 4}},
            (
                "redis.shard: unknown key; known here: engine, engineVersion, nodeType, shards, replicas, durability, "
                "snapshotDays, snapshotWindow, maintenanceWindow, restoreFrom, memoryAlarm, cpuAlarm, authentication, "
                "passwords, results"
            ),
        ),
        (
            {"redis": {"engine": "valkey", "engineVersion": "7.1"}},
            "redis.engineVersion: '7.1' is no version of valkey; valid: 7.2, 8.0, 8.1, 8.2, 9.0, 9.1",
        ),
        ({"redis": {"engineVersion": "9.0"}}, "redis.engineVersion: '9.0' is no version of redis; valid: 7.0, 7.1"),
        (
            {"redis": {"durability": "async"}},
            "redis.durability: 'async' needs engine valkey from 9.0 on, not redis 7.1; valid: none",
        ),
        (
            {
                "redis": {
                    "engine": "valkey",
                    "engineVersion": "8.2",
                    "nodeType": "cache.m7g.large",
                    "durability": "sync",
                }
            },
            "redis.durability: 'sync' needs engine valkey from 9.0 on, not valkey 8.2; valid: none",
        ),
        (
            {"redis": {"engine": "valkey", "durability": "async"}},
            "redis.durability: 'async' does not work on cache.t4g.small; valid: none, or a nodeType of r8g, r7g, r6g, ",
        ),
        (
            {"redis": {"results": {"engine": "valkey", "nodeType": "cache.t3.small", "durability": "sync"}}},
            "redis.results.durability: 'sync' does not work on cache.t3.small; valid: none, or a nodeType of r8g, ",
        ),
        (
            {"redis": {"nodeType": "cache.r6gd.xlarge"}},
            "redis.nodeType: cache.r6gd.xlarge moves what waits long to disk, which is queued work; take ",
        ),
        ({"redis": {"nodeType": "cache.m3.large"}}, "redis.nodeType: cache.m3.large cannot be created any more; take "),
        ({"redis": {"engine": "memcached"}}, "redis.engine: \"memcached\" is wrong; it should be 'redis' or 'valkey'"),
        (
            {"redis": {"authentication": "iam", "passwords": [1, 2]}},
            "redis.passwords: authentication iam has no passwords; leave it out",
        ),
        (
            {"redis": {"passwords": [1, 2, 3]}},
            "redis.passwords: [1, 2, 3] are 3; ElastiCache takes two of a user, the last two",
        ),
        (
            {"redis": {"passwords": [2, 1]}},
            "redis.passwords: [2, 1]: the older number first, each once, such as [1, 2]",
        ),
        ({"redis": {"passwords": []}}, "redis.passwords: is empty; it needs at least one entry"),
        ({"redis": {"restoreFrom": "My_Snapshot"}}, "redis.restoreFrom: 'My_Snapshot' is not the name of a snapshot"),
        (
            {"redis": {"maintenanceWindow": "sun:23:30-mon:00:00"}},
            "redis.maintenanceWindow: sun:23:30-mon:00:00 has 30 minutes; at least 60",
        ),
        (
            {"redis": {"snapshotWindow": "23:50-00:20"}},
            "redis.snapshotWindow: 23:50-00:20 has 30 minutes; at least 60",
        ),
        (
            {"redis": {"snapshotWindow": "02:30-03:30"}},
            "redis.maintenanceWindow: sun:03:00-sun:04:00 overlaps with snapshotWindow 02:30-03:30; move one",
        ),
        ({"owner": ""}, "owner: is empty"),
        (
            {"beat": {"environment": {"SHOP": "eu"}, "secrets": {"SHOP": SECRET}}},
            "beat.secrets: SHOP also stands under environment; keep one",
        ),
        (
            {"queues": {"celery": {"environment": {"PATH": "/usr/bin"}}}},
            "queues.celery.environment.PATH: PATH, TMPDIR and PYTHON… belong to the image: nothing would start",
        ),
        (
            {"queues": {"celery": {"policies": [f"{POLICY}/p{n}" for n in range(11)]}}},
            "queues.celery.policies: 11 policies; IAM takes 10 a role, join some",
        ),
        ({"queues": {"celery": {"policies": [f"{POLICY}/p"] * 2}}}, "queues.celery.policies: names a policy twice"),
        (
            {"redis": {"results": {"passwords": [2]}}},
            "redis.results.passwords: unknown key; known here: engine, engineVersion, nodeType, shards, replicas, ",
        ),
        # What the results' cluster takes over is said once.
        ({"redis": {"snapshotDays": 99, "results": {}}}, "redis.snapshotDays: 99 is wrong; it should be less than"),
        ({"redis": {"replicas": 0}}, "redis.replicas: 0 is wrong; it should be greater than or equal to 1"),
        ({"redis": {"shards": "3"}}, 'redis.shards: "3" is wrong; it should be a valid integer'),
        ({"network": {"zones": 1}}, "network.zones: 1 is wrong; it should be greater than or equal to 2"),
        ({"network": 5}, "network: 5 is wrong; it should be an object"),
        (
            {"logs": {"level": "LOUD"}},
            "logs.level: \"LOUD\" is wrong; it should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        ),
        ({"waitFor": ["mongodb://u:p@db"]}, "waitFor.0: 'mongodb://u:p@db' is not an address such as tcp://db:5432"),
        ({"taskModules": []}, "taskModules: is empty; it needs at least one entry"),
        ({"taskModules": ["a-b"]}, "taskModules.0: 'a-b' is not a Python module such as shop.tasks"),
        (
            {"monitor": {"cpu": 512, "memory": 512}},
            "monitor.memory: 512 MiB is not a Fargate size; valid for cpu 512: ",
        ),
        (
            {"waitFor": ["tcp://db:5432"]},
            "waitFor.0: tcp://db:5432 is behind port 5432, which nothing opens; add to network.egress: {to: ",
        ),
        ({"waitFor": ["tcp://db"]}, "waitFor.0: 'tcp://db' names no port; write tcp://host:port"),
        ({"network": {"cidr": "8.8.0.0/16"}}, "network.cidr: '8.8.0.0/16' is not private; take a part of 10.0.0.0/8"),
        ({"network": {"egressCidrs": ["10.0.0.1/8"]}}, "network.egressCidrs.0: '10.0.0.1/8' is not an IPv4 range"),
        (
            {"network": {"egressCidrs": []}},
            "network.egress: nothing opens port 443, over which tasks reach AWS' APIs; nor does egressCidrs",
        ),
        (
            {"network": {"egress": [{"to": "db", "port": 5432, "description": "db"}]}},
            "network.egress.0.to: 'db' is not an IPv4 range, a security group or a prefix list",
        ),
        (
            {"network": {"egress": [{"to": "10.0.0.0/8", "port": 1, "description": "db", "ports": 2}]}},
            "network.egress.0.ports: unknown key; known here: to, port, description",
        ),
        (
            {"network": {"nat": "none", "egressCidrs": ["0.0.0.0/0"]}},
            "network.egressCidrs: 0.0.0.0/0 has no way out with nat none",
        ),
        (
            {"network": {"nat": "existing"}},
            "network.nat: 'existing' needs vpcId; valid without it: single, per-zone, none",
        ),
        ({"network": {"subnetIds": SUBNETS}}, "network.subnetIds: these subnets need vpcId"),
        ({"network": {"routeTableIds": ["rtb-12345678"]}}, "network.routeTableIds: belongs to an existing VPC"),
        (
            {"network": {"vpcId": VPC, "subnetIds": SUBNETS[:1]}},
            "network.subnetIds: 1 subnets are too few or named twice; at least 2 of vpcId, one a zone",
        ),
        (
            {"network": {"vpcId": VPC, "subnetIds": SUBNETS, "nat": "single"}},
            "network.nat: 'single' makes NAT gateways, but vpc-12345678 is not ours; valid: existing, none",
        ),
        (
            {"network": {"vpcId": VPC, "subnetIds": SUBNETS, "zones": 3}},
            "network.zones: vpc-12345678 has its own; leave it out with vpcId",
        ),
        ({"network": {"endpoints": ["s3"]}}, "network.endpoints.0: 's3' has a gateway endpoint already; leave it out"),
        ({"network": {"accounts": ["42"]}}, "network.accounts.0: '42' is not an AWS account's twelve digits"),
        (
            {"alarms": {"topicArn": "arn:aws:sns:eu-central-1:123456789012:calls", "emails": ["a@b.example"]}},
            "alarms.emails: topicArn names a topic that is not ours; subscribe there, or leave topicArn out",
        ),
        ({"alarms": {"topicArn": "calls"}}, "alarms.topicArn: 'calls' is not the ARN of an SNS topic"),
        (
            {"tags": {"owner": "me"}},
            "tags.owner: the stack sets Project, Environment, Owner, ManagedBy, Queue, Name itself; take another key",
        ),
        ({"tags": {"aws:x": "1"}}, "tags.aws:x: AWS keeps keys that start with aws: for itself"),
        ({"tags": {"Team": "a" * 257}}, f"tags.Team: '{'a' * 257}' must be at most 256 letters"),
        ({"tags": {"Team": "a", "TEAM": "b"}}, "tags: two keys differ in upper and lower case only"),
        (
            {"tags": {f"key{number}": "" for number in range(45)}},
            "tags: 45 tags are too many; at most 44 beside the stack's own",
        ),
        ({"owner": "Ä"}, "owner: 'Ä' must be at most 256 letters, digits, spaces and _ . : / = + - @"),
        (
            {"queues": {"celery": {"alarmFailures": 0}}},
            "queues.celery.alarmFailures: 0 is wrong; it should be greater than or equal to 1",
        ),
        ({"environment": "qa"}, "environment: 'qa' is no environment; staging or prod"),
        ([], "fleet: [] is not a mapping of keys to values"),
    ],
)
def test_an_error_names_path_value_and_what_would_be_right(document: object, problem: str) -> None:
    (only,) = complaints(document)
    assert only.startswith(problem)


def test_all_errors_at_once_and_no_echoes() -> None:
    document = {
        "bogus": 1,
        "shutdown": {"grace": 10},
        "queues": {"data_queue": {"cpu": 300, "min": 5, "max": 2}, "extra": {}, "celery": {"memory": 5000}},
        "redis": {"nodeType": "m7g.large"},
    }
    paths = [line.split(":")[0] for line in complaints(document)]
    assert sorted(paths) == [
        "bogus",
        "queues.celery.memory",
        "queues.data_queue.cpu",
        "queues.data_queue.max",
        "queues.extra.priority",
        "redis.nodeType",
        "shutdown.grace",
    ]


def test_a_stack_of_another_name_must_say_its_environment() -> None:
    assert complaints({}, "prod-eu") == [
        "environment: 'prod-eu' is no environment; staging or prod (stack 'prod-eu' does not name one: set it)"
    ]
    assert config.load("prod-eu", {"environment": "prod"}).queues["celery"].min == 3
    assert complaints({}, "Prod")[0].startswith("stack: 'Prod' must be of small letters")


def test_a_misspelt_key_of_the_project_is_no_silence() -> None:
    with pytest.raises(config.ConfigError, match="celery-fleet:flet: unknown key; known here: celery-fleet:fleet"):
        config.load("prod", None, ["celery-fleet:flet", "celery-fleet:fleet"])


def test_the_region_is_awss_own_key_and_must_be_set() -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load("prod", {"redis": {"shards": 0}}, elsewhere=config.region_problems(None))
    missing, shards = caught.value.problems
    assert missing == "aws:region: is missing; set it in the stack file, e.g. aws:region: eu-central-1"
    assert shards.startswith("redis.shards: ")
    assert config.region_problems("Frankfurt") == ["aws:region: 'Frankfurt' is not a region such as eu-central-1"]
    for region in ("eu-central-1", "us-gov-west-1", "ap-southeast-7"):
        assert config.region_problems(region) == []


def test_how_tasks_leave_follows_from_the_network() -> None:
    assert config.load("prod", None).network.nat == "per-zone"
    theirs = config.load("prod", {"network": {"vpcId": VPC, "subnetIds": SUBNETS}}).network
    assert (theirs.nat, theirs.egress_cidrs) == ("existing", ("0.0.0.0/0",))
    alone = config.load("prod", {"network": {"nat": "none"}}).network
    assert alone.egress_cidrs == ()
    port = {"to": "sg-12345678", "port": 443, "description": "endpoints"}
    closed = {"vpcId": VPC, "subnetIds": SUBNETS, "egressCidrs": [], "egress": [port]}
    assert config.load("prod", {"network": closed}).network.egress[0].to == "sg-12345678"


def test_an_address_that_something_opens_may_be_waited_for() -> None:
    egress = [{"to": "10.0.0.0/8", "port": 5432, "description": "PostgreSQL"}]
    waits = ["tcp://db:5432", "https://shop.example", "tcp://10.1.1.1:9"]
    assert config.load("prod", {"waitFor": waits, "network": {"egress": egress}}).wait_for == tuple(waits)


def test_a_wrong_configuration_registers_nothing(renders: Renders) -> None:
    broken = {"queues": {"data_queue": {"cpu": 300}}, "redis": {"shards": 0}}
    with pytest.raises(RenderError) as caught:
        renders.of("staging", broken)
    first, *rest = str(caught.value).splitlines()
    assert first == "the configuration of stack 'staging' is wrong:"
    assert [line.split(":")[0] for line in rest] == ["redis.shards", "queues.data_queue.cpu"]


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_the_defaults_are_right_for_an_empty_account(stack: str) -> None:
    fleet = config.load(stack, None)
    assert set(fleet.queues) == {queue.name for queue in (*QUEUES, DEAD_LETTER_QUEUE)}
    assert not fleet.alarms.emails
    for task in (fleet.monitor, fleet.beat, fleet.flower, *fleet.queues.values()):
        assert task.memory in SIZES[task.cpu]
        assert task.memory_reservation <= task.container_memory <= task.memory


def test_the_values_that_the_practices_ask_for() -> None:
    staging, prod = config.load("staging", None), config.load("prod", None)
    for queue in QUEUES:
        small, large = staging.queues[queue.name], prod.queues[queue.name]
        assert (small.min, large.min) == (2, 3)
        assert (small.cpu, small.container_memory, small.container_cpu, small.memory_reservation) == (
            1024,
            1024,
            512,
            512,
        )
        assert (large.cpu, large.container_memory, large.container_cpu, large.memory_reservation) == (
            2048,
            2048,
            1024,
            1024,
        )
        assert large.concurrency == queue.concurrency
        assert small.concurrency == max(1, queue.concurrency // 2)
        soft = None if queue.pool == "gevent" else 3300
        assert (large.scale_out_depth, large.soft_time_limit, large.time_limit) == (100, soft, 3600)
        assert (large.priority, large.pool) == (queue.priority, queue.pool)
    assert (staging.queues["dead_letter"].min, prod.queues["dead_letter"].min) == (1, 2)
    assert (staging.results.expires, prod.results.expires) == (86400, 604800)
    assert (prod.shutdown.stop_timeout, prod.shutdown.grace) == (120, 100)


def test_a_queue_is_overridden_alone_and_its_container_follows() -> None:
    fleet = config.load("prod", {"queues": {"data_queue": {"cpu": 4096, "memory": 8192, "concurrency": 8}}})
    data, other = fleet.queues["data_queue"], fleet.queues["celery"]
    assert (data.cpu, data.container_cpu, data.container_memory, data.memory_reservation) == (4096, 2048, 4096, 2048)
    assert other.cpu == 2048


def test_the_documentation_lists_every_key_with_its_defaults() -> None:
    section = DOCS.read_text().partition("\n## Configuration\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w.<>]+)` \| (.*) \|$", section, re.MULTILINE))
    staging, prod = (_flat(defaults(name)) for name in ("staging", "prod"))
    # The container's sizes follow from the task's.
    derived = {f"{task}.{key}" for task in ("monitor", "beat", "flower", "queues.<queue>") for key in _DERIVED}
    # Redis' version follows from its engine.
    assert set(rows) == set(staging) | derived | {"redis.engineVersion"}
    for key, value in staging.items():
        cells = [cell.strip() for cell in rows[key].split("|")]
        assert [_plain(cell) for cell in cells[:2]] == [_written(value), _written(prod[key])], key


_DERIVED = ("containerCpu", "containerMemory", "memoryReservation")


def _flat(document: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return full key -> default; the queue `data_queue` stands for all."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        full = f"{path}{key}"
        if full == "queues":
            flat |= _flat(value["data_queue"], "queues.<queue>.")
        elif isinstance(value, dict) and value:
            flat |= _flat(value, f"{full}.")
        else:
            flat[full] = value
    return flat


def _plain(cell: str) -> str:
    return cell.replace("`", "")


def _written(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
