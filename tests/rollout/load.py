"""Keeps a fleet busy: the demo's work, round after round, and on demand tasks that only a new version knows."""

from __future__ import annotations

from uuid import uuid4

from scripts.demo.publisher import Publisher
from scripts.demo.stage import Stage
from scripts.demo.tally import Tally
from scripts.demo.website import Website
from scripts.demo.workload import Workload, library_files
from service.routing import Routing
from tests.rollout.version_b import NAMES

#: A round is small, so that the last one ends soon.
FILES, SHARE = 40, 0.1


class Load:
    """Call `turn` again and again.

    Attributes:
        rounds: What was asked of the fleet.
        greetings: The tasks of the new version: id and number.
        tally: What ran.
    """

    def __init__(self, stage: Stage, website: Website) -> None:
        """Nothing is published."""
        self.rounds: list[Workload] = []
        self.greetings: dict[str, int] = {}
        self.tally = Tally(stage.ledger)
        self._stage, self._website = stage, website
        self._publisher: Publisher | None = None

    def turn(self, *, more: bool, greet: bool) -> None:
        """Look what has run, and publish.

        Args:
            more: Begin another round when the last one is published.
            greet: Send a task of the new version, to each queue in turn.
        """
        self.tally.refresh()
        publisher = self._publisher
        if publisher is not None:
            assert publisher.error is None, f"publishing failed: {publisher.error!r}"
            publisher.jobs_done = sum(job.id in self.tally.done for job in self.rounds[-1].jobs)
        if more and (publisher is None or publisher.finished):
            queue_of = Routing(self._stage.settings.queue_table).queue_of
            files = library_files()[:FILES]
            self.rounds.append(Workload(self._stage.app, files, self._website.url, queue_of, SHARE))
            self._publisher = Publisher(self.rounds[-1])
            self._publisher.start()
        if greet:
            task_id, number = str(uuid4()), len(self.greetings)
            name = list(NAMES.values())[number % len(NAMES)]
            self._stage.app.send_task(name, (number,), task_id=task_id, ignore_result=False)
            self.greetings[task_id] = number

    @property
    def missing(self) -> int:
        """How many tasks have not ended yet."""
        asked = {task_id for workload in self.rounds for task_id in workload.ids} | set(self.greetings)
        return len(asked - self.tally.done)

    @property
    def published(self) -> bool:
        """Whether the last round is in the queues."""
        return self._publisher is None or self._publisher.finished

    def stop(self) -> None:
        """Publish no more."""
        if self._publisher is not None:
            self._publisher.stop()
