"""The base of the fleet's tasks: when it retries, when not, and after how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.exceptions import MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded
from kombu.exceptions import EncodeError, OperationalError
from redis.exceptions import OutOfMemoryError

from service.app import create_app
from service.rediscluster.failures import reason_of
from service.settings import Settings
from service.task import NEVER_RETRIED, Task
from service.task_request import Request


@pytest.fixture(scope="module")
def app() -> Celery:
    return create_app(Settings())


class TroubleError(Exception):
    """What the tasks below name."""


def failing(app: Any, error: BaseException, **options: Any) -> Any:
    """A task that raises."""

    def run() -> None:
        raise error

    return app.task(name=uuid4().hex, shared=False, **options)(run)


@contextmanager
def running(task: Any, retries: int = 0) -> Iterator[None]:
    """As if a worker ran the task for the given time."""
    task.push_request(retries=retries, called_directly=False, is_eager=True, id="1", args=(), kwargs={})
    try:
        yield
    finally:
        task.pop_request()


def ended(task: Any, retries: int = 0) -> Any:
    """How a run of the task ends: the exception."""
    with running(task, retries), pytest.raises(Exception) as raised:  # noqa: PT011  it is what is asked for
        task.run()
    return raised.value


@pytest.mark.parametrize(("retries", "delay"), [(0, 60), (1, 120), (2, 240)])
def test_retries_wait_twice_as_long_each_time_give_or_take_a_fifth(app: Celery, retries: int, delay: float) -> None:
    task = failing(app, TroubleError(), autoretry_for=(TroubleError,))
    waits = [ended(task, retries).when for _ in range(200)]
    assert 0.8 * delay <= min(waits) < 0.85 * delay
    assert 1.15 * delay < max(waits) <= 1.2 * delay


def test_the_delay_has_a_limit_and_a_call_may_name_another(app: Celery) -> None:
    task = failing(app, TroubleError(), max_retries=50)
    with running(task, retries=40):
        assert 480 <= task.retry_delay() <= 720
        with pytest.raises(Retry) as raised:
            task.retry(countdown=7)
    assert raised.value.when == 7


def test_after_the_last_retry_the_exception_says_so(app: Celery) -> None:
    task = failing(app, TroubleError("why"), autoretry_for=(TroubleError,))
    error = ended(task, retries=3)
    assert (str(error), reason_of(error)) == ("why", "retries-exhausted")
    assert reason_of(ended(failing(app, TroubleError()), retries=3)) == "failed", "it would not have been retried"
    with running(task, retries=3), pytest.raises(MaxRetriesExceededError) as raised:
        task.retry()
    assert reason_of(raised.value) == "retries-exhausted"
    assert str(raised.value) == f"{task.name}[1] has no retry left", "arguments are nobody's business"


@pytest.mark.parametrize("never", [TypeError("wrong program"), NotImplementedError("later"), SoftTimeLimitExceeded()])
def test_some_exceptions_are_never_retried(app: Celery, never: Exception) -> None:
    assert ended(failing(app, never, autoretry_for=(Exception,))) is never
    named = failing(app, never, autoretry_for=(type(never),))
    assert isinstance(ended(named), Retry), "unless a task names them"
    own = failing(app, TroubleError(), autoretry_for=(Exception,), dont_autoretry_for=(TroubleError,))
    assert isinstance(ended(own), TroubleError)
    assert Task.dont_autoretry_for == NEVER_RETRIED


def test_celerys_own_backoff_still_works(app: Celery) -> None:
    task = failing(app, TroubleError(), autoretry_for=(TroubleError,), retry_backoff=8, retry_jitter=False)
    assert [ended(task, retries).when for retries in range(3)] == [8, 16, 32]


def test_a_class_of_ones_own_has_it_too(app: Celery) -> None:
    class Base(Task):
        abstract = True
        autoretry_for = (TypeError,)
        default_retry_delay = 10

    task = failing(app, TypeError(), base=Base)
    assert 8 <= ended(task).when <= 12


def nothing() -> int:
    return 1


@pytest.mark.parametrize(
    ("options", "called", "limits"),
    [
        ({}, (None, None), (3600, 3300)),
        ({"time_limit": 60}, (None, None), (60, 60)),
        ({"soft_time_limit": 30, "time_limit": 60}, (None, None), (60, 30)),
        ({"soft_time_limit": 5000}, (None, None), (3600, 3600)),
        ({}, (2, None), (2, 2)),
        ({"time_limit": 60}, (90, 80), (90, 80)),
    ],
)
def test_no_soft_limit_is_later_than_the_hard_one(
    app: Any, options: dict[str, int], called: tuple[int | None, int | None], limits: tuple[int, int]
) -> None:
    task = app.task(name=uuid4().hex, shared=False, **options)(nothing)
    app.finalize()
    message = SimpleNamespace(
        headers={"id": "1", "task": task.name, "timelimit": called},
        body=b"",
        payload=((), {}, {}),
        properties={},
        delivery_info={},
        content_type="application/json",
        content_encoding="utf-8",
    )
    assert Request(message, app=app, task=task).time_limits == limits


def sent_in_vain(task: Any, problem: Exception, monkeypatch: pytest.MonkeyPatch) -> Any:
    """How the task ends if its retry cannot be sent."""

    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("celery.canvas.Signature.apply_async", fail)
    task.push_request(retries=0, called_directly=False, is_eager=False, id="1", args=(), kwargs={})
    try:
        with pytest.raises(Exception) as raised:  # noqa: PT011  it is what is asked for
            task.run()
    finally:
        task.pop_request()
    return raised.value


@pytest.mark.parametrize("problem", [OperationalError("away"), OutOfMemoryError("full"), OSError("cut off")])
def test_a_retry_that_cannot_be_sent_now_goes_back(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: Exception
) -> None:
    end = sent_in_vain(failing(app, TroubleError("why"), autoretry_for=(TroubleError,)), problem, monkeypatch)
    assert isinstance(end, Reject)
    assert end.requeue  # type: ignore[attr-defined] # not in the stubs
    assert f"its retry could not be sent, or nobody knows: {problem}." in caplog.text
    assert "It was to be retried after TroubleError('why')" in caplog.text


def test_a_retry_that_can_never_be_sent_is_a_failure(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    task = failing(app, TroubleError("why"), autoretry_for=(TroubleError,))
    end = sent_in_vain(task, EncodeError("not JSON"), monkeypatch)
    assert (str(end), reason_of(end), str(end.__cause__)) == ("not JSON", "failed", "why")


def test_called_directly_it_is_an_ordinary_function(app: Celery) -> None:
    task = failing(app, TroubleError("plain"), autoretry_for=(TroubleError,))
    with pytest.raises(TroubleError, match="plain"):
        task()
