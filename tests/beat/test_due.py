"""When entries are due: the same for every process, whenever it starts to count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedule
from hypothesis import given
from hypothesis import strategies as st

from service.beat.due import CATCH_UP, NEVER, moment, next_due, ticks

APP = Celery("due", set_as_current=False)
BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def cron(text: str, zone: Any = UTC) -> crontab:
    made: Any = crontab.from_string(text)
    made.app, made.tz = APP, zone
    return made  # type: ignore[no-any-return]


def interval(**parts: float) -> schedule:
    return schedule(timedelta(**parts), app=APP)


def due_times(what: Any, start: str, count: int) -> list[str]:
    found, at = [], ms(start)
    for _ in range(count):
        at = next_due(what, at)
        found.append(moment(at).isoformat().removesuffix("+00:00"))
    return found


def test_an_interval_is_due_at_its_multiples_whenever_somebody_starts() -> None:
    hour = interval(hours=1)
    assert due_times(hour, "2026-01-02T03:04:05Z", 2) == ["2026-01-02T04:00:00", "2026-01-02T05:00:00"]
    assert next_due(hour, ms("2026-01-02T04:00:00Z")) == ms("2026-01-02T05:00:00Z"), "after, not at"
    assert next_due(interval(milliseconds=250), 1) == 250


def test_cron_is_due_at_full_minutes() -> None:
    assert due_times(cron("*/20 6-7 * * mon"), "2026-01-02T03:04:05.678Z", 4) == [
        "2026-01-05T06:00:00",
        "2026-01-05T06:20:00",
        "2026-01-05T06:40:00",
        "2026-01-05T07:00:00",
    ]


def test_a_day_on_which_the_hour_is_missing_has_its_tick_an_hour_later() -> None:
    assert due_times(cron("30 2 * * *", BERLIN), "2026-03-27T12:00:00Z", 3) == [
        "2026-03-28T01:30:00",
        "2026-03-29T01:30:00",
        "2026-03-30T00:30:00",
    ]


def test_an_hour_that_the_clock_repeats_counts_once() -> None:
    assert due_times(cron("30 2 * * *", BERLIN), "2026-10-24T12:00:00Z", 2) == [
        "2026-10-25T00:30:00",
        "2026-10-26T01:30:00",
    ]
    assert due_times(cron("*/30 * * * *", BERLIN), "2026-10-24T23:40:00Z", 4) == [
        "2026-10-25T00:00:00",
        "2026-10-25T00:30:00",
        "2026-10-25T02:00:00",
        "2026-10-25T02:30:00",
    ]


@given(
    st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 30))
    | st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 26)),
    st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */2 * * *", "15 2,3 25,29 3,10 *"]),
)
def test_time_goes_on_also_when_the_clock_changes(start: datetime, spec: str) -> None:
    at = round(start.replace(tzinfo=UTC).timestamp() * 1000)
    due = next_due(cron(spec, BERLIN), at)
    assert at < due < NEVER
    assert due % 60_000 == 0


def test_what_is_never_due_is_no_error() -> None:
    class Never(BaseSchedule):
        def remaining_estimate(self, last_run_at: datetime) -> Any:
            return None

    assert next_due(Never(), 0) == NEVER


@pytest.mark.parametrize(("what", "step"), [(interval(seconds=1), 1000), (cron("* * * * *"), 60_000)])
def test_ticks_that_are_a_little_late_are_all_published(what: Any, step: int) -> None:
    now = ms("2026-01-02T03:04:05.678Z")
    last = now // step * step - CATCH_UP
    assert ticks(what, last, now) == list(range(last + step, now + 1, step))
    assert ticks(what, now // step * step, now) == []


@pytest.mark.parametrize("outage", [CATCH_UP + 60_000, 86_400_000, 40 * 86_400_000])
@pytest.mark.parametrize(("what", "step"), [(interval(seconds=1), 1000), (cron("*/5 * * * *"), 300_000)])
def test_after_a_long_outage_the_latest_tick_alone_is_published(what: Any, step: int, outage: int) -> None:
    now = ms("2026-01-02T03:04:05.678Z")
    last = (now - outage) // step * step - step
    assert ticks(what, last, now) == [now // step * step]


def test_the_latest_tick_is_found_where_there_are_few() -> None:
    yearly = cron("0 12 24 12 *")
    assert ticks(yearly, ms("2023-12-24T12:00:00Z"), ms("2026-06-01T00:00:00Z")) == [ms("2025-12-24T12:00:00Z")]
    assert ticks(yearly, ms("2025-12-24T12:00:00Z"), ms("2026-06-01T00:00:00Z")) == []
