"""The planners: pure functions, each with the limit it exists for."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.plan.cidr import check_network, subnets
from infra.plan.cron import check_at, check_cron
from infra.plan.deployment import capacity, maximum_percent, running_limit, update_minutes
from infra.plan.elasticache import overlap
from infra.plan.fargate import SIZES, check_cpu, check_memory
from infra.plan.names import Names, check_queue, check_stack, hyphens, redis_nodes
from infra.plan.scaling import backlog_per_task, out_steps
from infra.plan.tags import Tags


def test_a_start_first_deployment_never_deadlocks() -> None:
    for tasks in range(1, 501):
        percent = maximum_percent(tasks)
        assert running_limit(tasks, percent) > tasks
        assert running_limit(tasks, percent - 1) == tasks, "one percent less must be too little"


@given(fewest=st.integers(1, 500), more=st.integers(0, 500))
def test_no_count_that_scaling_reaches_makes_a_deployment_stand_still(fewest: int, more: int) -> None:
    """The percentage is that of the fewest tasks; it applies to whatever count there is."""
    assert running_limit(fewest + more, maximum_percent(fewest)) > fewest + more


def test_an_update_waits_for_protected_workers() -> None:
    """A run of 15 minutes at most, a worker twice as long."""
    assert update_minutes(15) == 60 + 2 * 15


@given(base=st.integers(1, 500), percent=st.integers(0, 100))
def test_what_must_survive_is_on_demand(base: int, percent: int) -> None:
    shares = {share.provider: share for share in capacity(base, percent)}
    assert shares["FARGATE"].base == (base if percent else None)
    assert ("FARGATE_SPOT" in shares) == (percent > 0)
    assert sum(share.weight for share in shares.values()) > 0, "ECS wants one provider with a weight"
    if percent:
        assert shares["FARGATE_SPOT"].base is None, "only one provider can have a base"
        assert shares["FARGATE_SPOT"].weight == percent


@given(latency=st.integers(1, 3600), concurrency=st.integers(1, 100), seconds=st.floats(0.01, 3600))
def test_a_backlog_at_its_target_is_gone_within_the_latency(latency: int, concurrency: int, seconds: float) -> None:
    backlog = backlog_per_task(latency, concurrency, seconds)
    # Quotients of floats are rounded.
    assert backlog == 1 or backlog * seconds / concurrency <= latency * (1 + 1e-9)
    assert (backlog + 1) * seconds / concurrency > latency * (1 - 1e-9), "and no smaller than needed"


@pytest.mark.parametrize(
    "cron",
    [
        "0 8 ? * MON-FRI *",
        "*/15 0-6,22 1,15 * ? 2026",
        "0 0 L JAN-MAR,12 ? *",
        "0 12 ? * 2#1 *",
        "5 4 15W * ? 2026",
    ],
)
def test_cron_expressions_of_aws(cron: str) -> None:
    assert check_cron(cron) == cron


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 8 * * 1", "has 5 fields, not 6"),
        ("60 8 ? * * *", "'60' in '60 8 ? * * *' is no minutes: 0 to 59"),
        ("0 8-25 ? * * *", "is no hours"),
        ("0 8 ? FOO * *", "is no month: 1 to 12 or JAN to DEC"),
        ("0 8 ? * 0 *", "is no day of week: 1 to 7 or SUN to SAT"),
        ("0/0 8 ? * * *", "is no minutes"),
        ("9-3 8 ? * * *", "is no minutes"),
        (",0 8 ? * * *", "is no minutes"),
        ("0 8 * * * *", "needs ? as day of month or as day of week"),
        ("0 8 ? * ? *", "needs ? as day of month or as day of week"),
    ],
)
def test_cron_expressions_that_aws_refuses(cron: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_cron(cron)


def test_moments() -> None:
    assert check_at("2026-12-24T08:00:00")
    for wrong in ("2026-12-24", "2026-12-24T08:00:00Z", "2026-13-24T08:00:00"):
        with pytest.raises(ValueError, match="is not a moment such as"):
            check_at(wrong)


def test_a_queues_name_fits_everything_made_of_it() -> None:
    longest = "q" * (64 - len("celery-fleet-prod--execution"))
    assert check_queue(longest, "prod", [longest]) == longest
    assert len(Names("prod").role(hyphens(longest), "execution")) == 64
    with pytest.raises(ValueError, match="leave room for 36"):
        check_queue(longest + "q", "prod", [])


@given(
    snapshot=st.tuples(st.integers(0, 287), st.integers(12, 287)),
    maintenance=st.tuples(st.integers(0, 2015), st.integers(12, 2015)),
)
def test_windows_overlap_if_they_share_a_minute(snapshot: tuple[int, int], maintenance: tuple[int, int]) -> None:
    """In steps of five minutes: first step and number of steps."""

    def clock(step: int) -> str:
        return f"{step * 5 // 60 % 24:02d}:{step * 5 % 60:02d}"

    def day(step: int) -> str:
        return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[step // 288 % 7]

    (start, lasts), (opened, stays) = snapshot, maintenance
    daily = f"{clock(start)}-{clock(start + lasts)}"
    weekly = f"{day(opened)}:{clock(opened)}-{day(opened + stays)}:{clock(opened + stays)}"
    taken = {(step + 288 * days) % 2016 for days in range(7) for step in range(start, start + lasts)}
    shared = taken & {step % 2016 for step in range(opened, opened + stays)}
    assert overlap(daily, weekly) is bool(shared)


@pytest.mark.parametrize(
    ("name", "others", "said"),
    [
        ("Reports", [], "small letters"),
        ("1st", [], "small letters"),
        ("a__b", [], "small letters"),
        ("monitor", [], "is taken"),
        ("beat", [], "is taken"),
        ("exec", [], "is taken"),
        ("flow", [], "is taken"),
        ("flower", [], "is taken"),
        ("redis_0001_001", [], "is taken"),
        ("reports_queue", ["reports-queue"], "are both called reports-queue in AWS"),
        ("reports", ["reports_queue"], "would both get the tasks of shop.reports"),
    ],
)
def test_queue_names_that_would_clash(name: str, others: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_queue(name, "prod", [name, *others])


def test_the_percentages_that_aws_documents() -> None:
    assert [maximum_percent(n) for n in (1, 2, 3, 4)] == [200, 150, 134, 125]
    with pytest.raises(ValueError, match="at least 1 task"):
        maximum_percent(0)


@pytest.mark.parametrize(("cidr", "zones"), [("10.0.0.0/16", 2), ("10.0.0.0/16", 4), ("192.168.0.0/22", 4)])
def test_subnets_are_disjoint_and_inside(cidr: str, zones: int) -> None:
    plan = subnets(cidr, zones)
    networks = sorted(IPv4Network(block) for block in (*plan.private, *plan.public))
    assert len(networks) == 2 * zones
    assert all(network.subnet_of(IPv4Network(cidr)) for network in networks)
    assert not any(left.overlaps(right) for left, right in pairwise(networks))
    assert all(16 <= network.prefixlen <= 28 for network in networks), "AWS' limits of a subnet"


def test_a_further_zone_moves_no_subnet() -> None:
    two, three = subnets("10.0.0.0/16", 2), subnets("10.0.0.0/16", 3)
    assert three.private[:2] == two.private
    assert three.public[:2] == two.public


@pytest.mark.parametrize(
    ("cidr", "complaint"),
    [
        ("10.0.0.0/8", "between /16 and /22"),
        ("10.0.0.0/24", "between /16 and /22"),
        ("10.0.0.1/16", "not an IPv4 network"),
        ("8.8.0.0/16", "not private"),
        ("net", "not an IPv4 network"),
    ],
)
def test_networks_that_a_vpc_cannot_have(cidr: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_network(cidr)


def test_fargate_sizes() -> None:
    assert SIZES[1024] == (2048, 3072, 4096, 5120, 6144, 7168, 8192)
    assert SIZES[2048][0] == 4096, "2 vCPU start at 4 GB"
    assert SIZES[16384][-1] == 122880
    with pytest.raises(ValueError, match="300 is not a Fargate size; valid: 256, 512, 1024"):
        check_cpu(300)
    with pytest.raises(ValueError, match="valid for cpu 256: 512, 1024, 2048"):
        check_memory(256, 4096)
    with pytest.raises(ValueError, match="16384 to 61440 in steps of 4096"):
        check_memory(8192, 17000)


def test_names_fit_every_service() -> None:
    names = Names("prod")
    assert hyphens("high_priority_queue") == "high-priority-queue"
    assert names.of("data_queue") == "celery-fleet-prod-data-queue"
    assert len(Names("a" * 19).redis.user) == len(Names("a" * 19).redis_results.group) == 40
    assert check_stack("a" * 19)
    with pytest.raises(ValueError, match="at most 19"):
        check_stack("a" * 20)
    with pytest.raises(ValueError, match="hyphen and six characters"):
        names.secret("redis-secret")
    with pytest.raises(ValueError, match="AWS allows 64"):
        names.role("x" * 60, "task")


@pytest.mark.parametrize("stack", ["Prod", "1st", "a--b", "a-", "a_b", ""])
def test_stack_names_that_leave_no_valid_identifier(stack: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        check_stack(stack)


def test_redis_nodes_are_called_as_elasticache_calls_them() -> None:
    assert redis_nodes("g", 2, 1) == ("g-0001-001", "g-0001-002", "g-0002-001", "g-0002-002")


@pytest.mark.parametrize(("minimum", "maximum"), [(1, 2), (2, 8), (3, 12), (3, 500)])
def test_steps_leave_no_gap_and_never_less_for_more(minimum: int, maximum: int) -> None:
    steps = out_steps(100, maximum - minimum)
    assert steps[0].lower == 0
    assert steps[-1].upper is None
    assert all(low.upper == high.lower for low, high in pairwise(steps))
    assert all(0 < low.change <= high.change for low, high in pairwise(steps))
    assert steps[-1].change == maximum - minimum


def test_nothing_to_scale() -> None:
    with pytest.raises(ValueError, match="nothing to scale"):
        out_steps(100, 0)


def test_tags() -> None:
    assert Tags("prod", "me").of("name", "celery") == {
        "Project": "celery-fleet",
        "Environment": "prod",
        "Owner": "me",
        "ManagedBy": "pulumi",
        "Queue": "celery",
        "Name": "name",
    }
