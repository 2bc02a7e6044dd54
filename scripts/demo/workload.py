"""What the demo asks of the fleet, and what must come out."""

from __future__ import annotations

import functools
import hashlib
import json
import sysconfig
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery, chord
from celery.canvas import Signature

from service.work import events, pages, texts, tokens

#: Files of one inner chord.
BATCH = 40
#: Beside the files and pages, so that the total is above 5000.
URGENT, PROBES, DIGESTS = 700, 300, 700

COUNT = "service.tasks.data.count_tokens"
MERGE = "service.tasks.workflow.merge_statistics"
FETCH = "service.tasks.sync.fetch_page"
CHECK = "service.tasks.high_priority.check_event"
PROBE = "service.tasks.monitoring.probe_host"
DIGEST = "service.tasks.default.digest_text"


@dataclass(frozen=True)
class Job:
    """One task to publish.

    Attributes:
        id: Its task id, known before it is published.
        name: The task.
        args: Its arguments.
        expected: Computes what it must return; None if it stores no result.
    """

    id: str
    name: str
    args: tuple[Any, ...]
    expected: Callable[[], Any] | None


def library_files() -> list[Path]:
    """Every Python file of the standard library of this interpreter."""
    root = Path(sysconfig.get_path("stdlib"))
    return [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.relative_to(root).parts]


class Workload:
    """All tasks of the demo.

    Attributes:
        files: Whose tokens are counted.
        jobs: The tasks beside the chord, mixed.
        ids: Every task, those of the chord too: id and name.
        reduced_id: The task whose result is the sum over all files.
        queue_of: From a task's name to its queue.
    """

    def __init__(
        self,
        app: Celery,
        files: Sequence[Path],
        website: str,
        queue_of: Callable[[str], str],
        share: float = 1.0,
    ) -> None:
        """Plan everything; nothing is published.

        Args:
            app: The client's app.
            files: Whose tokens are counted; each is a page of the website too.
            website: Where the pages are.
            queue_of: From a task's name to its queue.
            share: How many of the tasks that have nothing to do with files.
        """
        self._app = app
        self.queue_of = queue_of
        self._share = share
        self.files = files
        self.ids: dict[str, str] = {}
        self._chord = self._reduction()
        self.jobs = list(_mixed(self._pages(website), self._urgent(), self._probes(), self._digests()))

    @property
    def by_queue(self) -> Counter[str]:
        """How many tasks each queue gets."""
        return Counter(self.queue_of(name) for name in self.ids.values())

    def publish_reduction(self) -> None:
        """Publish the chord: one task per file, one sum per batch, and the sum of the sums."""
        self._chord.apply_async()

    def publish(self, job: Job) -> None:
        """Publish one of the jobs."""
        self._app.send_task(job.name, args=job.args, task_id=job.id, ignore_result=job.expected is None)

    def sequential(self) -> tokens.Statistics:
        """The reduction's result, computed here, one file after the other, by the same functions."""
        return tokens.merge(tokens.count_tokens(path) for path in self.files)

    def _reduction(self) -> Signature[Any]:
        batches = [self.files[start : start + BATCH] for start in range(0, len(self.files), BATCH)]
        inner = [
            chord([self._signature(COUNT, str(path)) for path in batch], self._signature(MERGE)) for batch in batches
        ]
        whole = self._signature(MERGE)
        self.reduced_id = str(whole.options["task_id"])
        return chord(inner, whole)

    def _signature(self, name: str, *args: Any) -> Signature[Any]:
        return self._app.signature(name, args=args, task_id=self._new_id(name))

    def _new_id(self, name: str) -> str:
        task_id = str(uuid.uuid4())
        self.ids[task_id] = name
        return task_id

    def _job(self, name: str, args: tuple[Any, ...], expected: Callable[[], Any] | None) -> Job:
        return Job(self._new_id(name), name, args, expected)

    def _pages(self, website: str) -> Iterator[Job]:
        for number, path in enumerate(self.files):
            yield self._job(FETCH, (f"{website}/{number}",), _page(f"{website}/{number}", path))

    def _urgent(self) -> Iterator[Job]:
        for number in range(round(URGENT * self._share)):
            body = json.dumps({"kind": "order.paid", "number": number})
            # Every tenth was damaged on its way.
            args = (body, events.checksum(body if number % 10 else "damaged"))
            yield self._job(CHECK, args, functools.partial(events.check_event, *args))

    def _probes(self) -> Iterator[Job]:
        for _ in range(round(PROBES * self._share)):
            yield self._job(PROBE, (), None)

    def _digests(self) -> Iterator[Job]:
        for number in range(round(DIGESTS * self._share)):
            text = self.files[number % len(self.files)].name * (number % 50 + 1)
            yield self._job(DIGEST, (text,), functools.partial(texts.digest_text, text))


def _page(url: str, path: Path) -> Callable[[], pages.Page]:
    def expected() -> pages.Page:
        body = path.read_bytes()
        return {"url": url, "status": 200, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    return expected


def _mixed(*kinds: Iterator[Job]) -> Iterator[Job]:
    """Take from each kind in proportion to its size, so that all of them run from beginning to end."""
    lists = [list(kind) for kind in kinds]
    order = [((index + 0.5) / len(jobs), job) for jobs in lists for index, job in enumerate(jobs)]
    return (job for _, job in sorted(order, key=lambda entry: entry[0]))
