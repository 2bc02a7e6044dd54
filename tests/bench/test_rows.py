"""Ratios, spreads and whether a target is reached."""

from __future__ import annotations

import pytest

from bench.chart import better, position
from bench.rows import KEPT, OURS, STOCK, Row, Target
from bench.stats import Spread, ratios, spread
from bench.tasks import EVERY, quantile, rate

RATE = Row("publish", "publish", "more", Target("≥ 2x", ratio=2))
LATENCY = Row("latency", "latency", "less", Target("≤ 1x", ratio=1))


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([5, 1, 3]) == Spread(3, 1, 5)


def test_ratios_pair_the_rounds() -> None:
    assert ratios([10, 40, 30], [10, 10, 10]) == Spread(3, 1, 4)
    with pytest.raises(ValueError, match="longer"):
        ratios([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("ours", "reached"),
    [([30, 20, 10], True), ([19, 19, 30], False), ([19.96, 19.96, 0], True)],
    ids=["median", "below", "rounded as it is shown"],
)
def test_a_rate_is_judged_by_the_median_ratio(ours: list[float], reached: bool) -> None:
    assert RATE.reached({STOCK: [10, 10, 10], OURS: ours}) is reached


def test_less_is_better_for_a_latency() -> None:
    assert LATENCY.reached({STOCK: [4], OURS: [4]}) is True
    assert LATENCY.reached({STOCK: [4], OURS: [5]}) is False


def test_a_limit_is_judged_by_the_worst() -> None:
    row = Row("death", "death", "less", Target("≤ 15", limit=15))
    assert row.reached({OURS: [9, 14]}) is True
    assert row.reached({OURS: [9, 16]}) is False


def test_so_much_above_stock() -> None:
    row = Row("connections", "connections", "less", Target("≤ stock + 1", more=1))
    assert row.reached({STOCK: [10], OURS: [11]}) is True
    assert row.reached({STOCK: [10], OURS: [12]}) is False
    assert row.reached({OURS: [11]}) is None


def test_what_was_not_measured_is_not_judged() -> None:
    assert RATE.reached({STOCK: [1]}) is None
    assert RATE.beats_kept({STOCK: [1], OURS: [2]}) is None
    assert RATE.beats_kept({KEPT: [2], OURS: [2]}) is True
    assert Row("x", "x", "less").reached({STOCK: [1], OURS: [1]}) is None


def test_a_rate_leaves_out_the_beginning() -> None:
    # Ten marks, the first two before everything runs: the others are a second apart.
    assert rate([0, 1, *range(100, 108)]) == EVERY


def test_quantiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 101)]
    assert quantile(values, 0.99) == 99
    assert quantile([7.0], 0.99) == 7


def test_the_chart_turns_ratios_so_that_more_is_better() -> None:
    assert better(RATE, Spread(2, 1, 4)) == Spread(2, 1, 4)
    assert better(LATENCY, Spread(0.5, 0.25, 1)) == Spread(2, 1, 4)


def test_the_axis_is_logarithmic_and_ends() -> None:
    assert position(2) - position(1) == pytest.approx(position(4) - position(2), abs=0.2)
    assert position(1000) == position(32)
