"""`python -m service.why TASK_ID`: where a task is, or how it ended."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from service.app import create_app
from service.redaction import Redaction
from service.rediscluster import ClusterUnavailableError, ConfigurationError
from service.settings import EXIT_CONFIG, settings_or_exit
from service.why.facts import Facts, gather
from service.why.words import lines

#: Headers that say something about a task and nothing of what it was given.
_HEADERS = ("task", "retries", "eta", "expires", "origin", "root_id", "parent_id", "group")


def main(arguments: list[str]) -> int:
    """Look for one task; the exit status is 0 if something is known of it, 1 if not, 2 for a wrong setting."""
    parser = argparse.ArgumentParser(prog="python -m service.why", description=__doc__)
    parser.add_argument("task_id", metavar="TASK_ID")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--result", action="store_true", help="show what the task returned")
    given = parser.parse_args(arguments)
    settings = settings_or_exit()
    try:
        facts = gather(create_app(settings), settings, given.task_id, with_result=given.result)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except ClusterUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    redaction = Redaction(())
    if given.json:
        print(json.dumps(redaction.value(_plain(facts)), default=repr))
    else:
        print(redaction.text("\n".join(lines(facts))))
    return 0 if facts.found else 1


def _plain(facts: Facts) -> dict[str, Any]:
    plain = asdict(facts) | {"found": facts.found, "name": facts.name}
    search = plain.pop("search")
    for sighting in search["sightings"]:
        sighting["headers"] = {name: sighting["headers"].get(name) for name in _HEADERS}
    return plain | {"messages": search["sightings"], "completed": search["completed"]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
