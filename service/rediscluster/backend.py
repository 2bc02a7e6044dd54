"""Celery's result backend on the cluster: one key for each task, one slot for each group and its chord."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Self
from uuid import uuid4

from celery import states
from celery.backends.redis import CHORD_PART_RETURN_LUA, RedisBackend  # type: ignore[attr-defined] # not in the stubs
from celery.exceptions import ImproperlyConfigured
from kombu.utils.objects import cached_property
from redis import exceptions

from .cluster import Cluster
from .errors import CONNECTION_ERRORS, ClusterUnavailableError, ConfigurationError
from .keys import group_key, task_key
from .logs import logger_for
from .options import Options, masked, parse
from .results import ResultConsumer
from .scripts import Script, load, script, source

logger = logger_for(__name__)

#: What result keys start with unless the option `key_prefix` says otherwise.
DEFAULT_PREFIX = "result:"


#: Seconds for which it is known which part of a chord claimed the right to send its end.
CLAIMS_REMEMBERED = 3600
#: A call is recognised for so many times the seconds for which it is repeated.
REPEATED_FOR = 2

#: Seconds for which the task whose result is being stored wants it kept; None: as long as the app says.
_own_expiry: ContextVar[int | None] = ContextVar("own_expiry", default=None)
#: Whether the failure of a task is told that no worker can tell of: only results are stored that are missing.
_missing_only: ContextVar[bool] = ContextVar("missing_only", default=False)
#: What the result that is being stored must be until then; None: whatever it is, it is replaced.
_expected: ContextVar[bytes | None] = ContextVar("expected", default=None)


class _ChangedError(Exception):
    """The result is not what was expected."""


class ClusterClient:
    """The part of redis-py's client that Celery's backend uses, on the cluster, waiting out failovers."""

    def __init__(self, cluster: Cluster) -> None:
        """Connects on first use."""
        self.cluster = cluster
        #: Whether what was last written found no place, so that the next is tried once and not for `retry_deadline`.
        self.impatient = False

    @property
    def deadline(self) -> float | None:
        """Seconds for which a write is repeated; None: `retry_deadline`."""
        return 0.0 if self.impatient else None

    def get(self, key: str) -> bytes | None:
        """The value of a key."""
        value: bytes | None = self.cluster.call(key, "GET", key)
        return value

    def mget(self, keys: Iterable[str]) -> list[bytes | None]:
        """The values of keys in any slots."""
        return self.cluster.gather([("GET", key) for key in keys])

    def set(self, key: str, value: Any, ex: int | None = None) -> None:
        """Set a key, for `ex` seconds."""
        self.cluster.call(key, "SET", key, value, *(("EX", ex) if ex else ()), deadline=self.deadline)

    def delete(self, *keys: str) -> int:
        """Delete keys in any slots; returns how many there were."""
        return sum(self.cluster.gather([("UNLINK", key) for key in keys]))

    def incr(self, key: str, amount: int = 1) -> int:
        """Add to a counter."""
        remember = int(1000 * REPEATED_FOR * self.cluster.options.retry_deadline)
        args = (amount, remember, f"{key}.{uuid4().hex}")
        # A repeated INCRBY would count twice.
        return int(self.cluster.script(load("increment"), [key], lambda _: args, self.deadline))

    def expire(self, key: str, seconds: int) -> bool:
        """Let a key go away after some seconds."""
        return bool(self.cluster.call(key, "EXPIRE", key, int(seconds)))

    def register_script(self, source: str) -> Callable[..., Any]:
        """A function that runs a Lua script whose keys are all in one slot."""
        return _BoundScript(self, script("celery", source))

    def pipeline(self) -> _Reads:
        """Commands that are run when `execute` is called."""
        return _Reads(self.cluster)


class _BoundScript:
    def __init__(self, client: ClusterClient, bound: Script) -> None:
        self._client, self._script = client, bound

    def __call__(self, keys: Sequence[str], args: Sequence[Any], client: object = None) -> Any:
        return self._client.cluster.script(self._script, keys, lambda _: args, self._client.deadline)


class _Reads:
    """What Celery's chord asks for through a pipeline: ranges."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._commands: list[tuple[Any, ...]] = []

    def zrange(self, key: str, first: int, last: int) -> Self:
        self._commands.append(("ZRANGE", key, first, last))
        return self

    def lrange(self, key: str, first: int, last: int) -> Self:
        self._commands.append(("LRANGE", key, first, last))
        return self

    def execute(self) -> list[Any]:
        return self._cluster.gather(self._commands)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._commands.clear()


class ClusterBackend(RedisBackend):
    """Results on a Redis Cluster. Register the URL schemes by importing the package."""

    ResultConsumer = ResultConsumer
    supports_result_compression = True

    app: Any
    expires: int | None
    options: Options
    result_consumer: Any
    url: str

    def __init__(self, *, url: str | None = None, **kwargs: Any) -> None:
        """Validate URL and options.

        Raises:
            ImproperlyConfigured: One of them is wrong.
        """
        if not url:
            raise ImproperlyConfigured("the result backend needs a URL: rediscluster://host:port")
        super().__init__(url=url, **kwargs)
        self.connection_errors = CONNECTION_ERRORS

    def _params_from_url(self, url: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
        conf = self.app.conf
        tls = conf.get("redis_backend_use_ssl") or {}
        given = {k: tls[k] for k in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname") if k in tls}
        settings = {"key_prefix": DEFAULT_PREFIX} | dict(conf.get("result_backend_transport_options") or {})
        try:
            self.options = parse(url, settings, **given)
        except ConfigurationError as error:
            raise ImproperlyConfigured(f"result_backend: {error}") from error
        return dict(defaults)

    @cached_property
    def client(self) -> ClusterClient:
        """The connections of this process."""
        cluster = Cluster(self.options)
        cluster.purpose = "results"
        return ClusterClient(cluster)

    def as_uri(self, include_password: bool = False) -> str:
        """The URL, its password masked."""
        return self.url if include_password else masked(self.url)

    # -- keys -------------------------------------------------------------------------------------------------------

    def get_key_for_task(self, task_id: str, key: str = "") -> str:
        """The key of a task's result."""
        if not task_id:
            raise ValueError(f"task_id must not be empty. Got {task_id} instead.")
        return task_key(self.options.key_prefix, str(task_id)) + key

    def get_key_for_group(self, group_id: str, key: str = "") -> str:
        """The key of a group, or of a part of its chord."""
        if not group_id:
            raise ValueError(f"group_id must not be empty. Got {group_id} instead.")
        return group_key(self.options.key_prefix, str(group_id), key)

    def forget(self, task_id: str) -> None:
        """Delete a result, and wait for it no longer."""
        super().forget(task_id)
        self.result_consumer.forget_cancelled()

    # -- operations -------------------------------------------------------------------------------------------------

    def ensure(self, fun: Callable[..., Any], args: tuple[Any, ...], **policy: Any) -> Any:
        """Just call: the client repeats by itself."""
        return fun(*args)

    @cached_property
    def _chord_part_return_script(self) -> Callable[..., Any]:
        count = self.client.register_script(
            f"local function celery(){CHORD_PART_RETURN_LUA}end\n{source('chord_part')}"
        )

        def counted(keys: Sequence[str], args: Sequence[Any], **_: object) -> Any:
            return count(keys=[*keys, f"{keys[-1]}.part"], args=[*args, CLAIMS_REMEMBERED])

        return counted

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store a state of a task.

        A worker whose task has run goes on without the result if there is no place for it within `retry_deadline`: the
        task is done, its chain is under way, and a full or lost cluster of results must not hold up the queues.

        Raises:
            redis.exceptions.OutOfMemoryError: The memory is full, still so at the deadline, and no worker asks.
            ClusterUnavailableError: As above: not served.
        """
        if _missing_only.get() and state == states.FAILURE:
            self._store_missing(task_id, result, request)
            return result
        try:
            stored = super().store_result(task_id, result, state, traceback=traceback, request=request, **kwargs)
        except (exceptions.OutOfMemoryError, ClusterUnavailableError) as error:
            if request is None:
                raise
            self.client.impatient = True
            logger.error("result of %s[%s] is lost: %s", getattr(request, "task", None), task_id, error)
            return result
        self.client.impatient = False
        return stored

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        celerys: Any = super()  # the stubs lack its method
        task = self.app.tasks.get(getattr(request, "task", None))
        token = _own_expiry.set(getattr(task, "result_expires", None))
        try:
            return celerys._store_result(task_id, result, state, traceback=traceback, request=request, **kwargs)
        finally:
            _own_expiry.reset(token)

    def _set_with_state(self, key: str, value: Any, state: str) -> Any:
        celerys: Any = super()  # the stubs lack its method, and `expires`
        seconds = _own_expiry.get()
        return celerys._set_with_state(key, value, state) if seconds is None else celerys.set(key, value, seconds)

    def _set(self, key: str, value: Any, expires: int | None = None) -> None:
        seconds = self.expires if expires is None else expires
        client, expected = self.client, _expected.get()
        args = (value, int(seconds or 0), *(() if expected is None else (expected,)))
        if not client.cluster.script(load("store"), [key], lambda _: args, client.deadline):
            raise _ChangedError(key)

    def claim(self, task_id: str, what: str, token: str, seconds: int) -> bool:
        """Claim the right to do something about a task, once, beside its result.

        Args:
            task_id: The task.
            what: What is to be done.
            token: Who claims it; repeating a claim changes nothing.
            seconds: For how long it holds.

        Returns:
            Whether it is ours.

        Raises:
            redis.exceptions.OutOfMemoryError: The memory is full, still so at the deadline.
            ClusterUnavailableError: Not served within the deadline.
        """
        key, call = self.get_key_for_task(task_id, f".{what}"), self.client.cluster.call
        call(key, "SET", key, token, "NX", "EX", seconds)
        return bool(call(key, "GET", key) == token.encode())

    def mark_as_dead(self, task_id: str, error: Exception, request: Any, store_result: bool = True) -> bool:
        """As Celery's `mark_as_failure`, for a task of which no worker can tell how it ended.

        A result that is there is never replaced, also one that is stored in the same moment. Calling again with the
        same error, after a call that broke off, reports again what may not have been.

        Args:
            task_id: The task.
            error: Becomes the result; its arguments tell it from others.
            request: Of the task, as far as it is known: chain, chord, errbacks and group.
            store_result: False for a task that ignores its result.

        Returns:
            Whether it was reported: False when the task has another result.

        Raises:
            redis.exceptions.OutOfMemoryError: The memory is full, still so at the deadline.
            ClusterUnavailableError: Not served within the deadline.
        """
        celerys: Any = self  # the stubs lack its methods
        if store_result and not self._store_missing(task_id, error, request):
            return False
        token = _missing_only.set(True)
        try:
            if request.chord:
                celerys.on_chord_part_return(request, states.FAILURE, error)
            # The tasks behind it may be under way: the next one is sent before a result is stored.
            celerys._fail_chain(request.chain, error, store_result=store_result)
            if request.errbacks:
                celerys._call_task_errbacks(request, error, None)
        finally:
            _missing_only.reset(token)
        return True

    def _store_missing(self, task_id: str, error: Any, request: Any) -> bool:
        """Store a failure where no result is; returns whether it is the task's result now."""
        celerys: Any = self  # the stubs lack its methods
        failure = celerys.encode_result(error, states.FAILURE)
        # Whether it was stored is seen by reading it: the reply may be lost, and the worker may be back.
        while True:
            found = self.client.get(self.get_key_for_task(task_id))
            meta = celerys.decode_result(found) if found else {"status": states.PENDING}
            if meta["status"] in states.READY_STATES:
                result: Any = meta["result"]
                return type(result) is type(error) and result.args == error.args
            token = _expected.set(found or b"")
            try:
                self._store_result(task_id, failure, states.FAILURE, request=request)
            except _ChangedError:
                continue
            finally:
                _expected.reset(token)

    def _get_result_meta(self, result: Any, state: str, traceback: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        meta = super()._get_result_meta(result, state, traceback, request, *args, **kwargs)  # type: ignore[misc] # not in the stubs
        # Of what `result_extended` adds, that which says nothing of the arguments.
        for name, attribute in (("worker", "hostname"), ("retries", "retries")):
            meta.setdefault(name, getattr(request, attribute, None))
        return meta
