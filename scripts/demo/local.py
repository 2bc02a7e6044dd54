"""The one table of what differs on this machine from the rendered task definitions."""

from __future__ import annotations

import os
import secrets as made_up
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.demo import ledger
from scripts.demo.cloudwatch import CREDENTIALS
from scripts.demo.errors import DemoError
from scripts.localcluster import LocalCluster, Node
from scripts.localcluster.ports import free_ports

#: Where a task's own directory, a port of its own and the rendered value go in a local value.
TASK_DIRECTORY, TASK_PORT, RENDERED = "<task>", "<port>", "<rendered>"


@dataclass(frozen=True)
class Difference:
    """A variable whose value is another one here.

    Attributes:
        variable: Its name.
        value: Its value here.
        why: Why it cannot be the rendered one.
        secret: Whether the value must not be printed.
    """

    variable: str
    value: str
    why: str
    secret: bool = False

    @property
    def shown(self) -> str:
        """The value as it may be printed."""
        return "(made up)" if self.secret else self.value


def differences(cluster: LocalCluster, seed: Node, cloudwatch: str, ledger_file: Path) -> tuple[Difference, ...]:
    """The table: everything that is not as rendered stands here.

    Args:
        cluster: The local cluster, running.
        seed: The node that stands for the configuration endpoint.
        cloudwatch: Address of the stand-in.
        ledger_file: Where the workers write down what they run.
    """
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    return (
        Difference("FLEET_REDIS_HOST", "127.0.0.1", "no configuration endpoint: a node that stays alive"),
        Difference("FLEET_REDIS_PORT", str(seed.port), "six nodes share one address"),
        Difference(
            "FLEET_REDIS_PASSWORD", cluster.password, "from the local cluster, not Secrets Manager", secret=True
        ),
        Difference("FLEET_REDIS_CA_FILE", str(cluster.ca_file), "the certificates are private"),
        Difference("FLEET_TASK_MODULES", f"{RENDERED},{ledger.__name__}", "counts executions outside Redis"),
        Difference(ledger.VARIABLE, str(ledger_file), "where they are counted"),
        Difference("AWS_ENDPOINT_URL", cloudwatch, "a local stand-in for CloudWatch"),
        Difference("FLEET_LETTERS_TABLE", "", "no DynamoDB: dead letters are kept in a file"),
        Difference("FLEET_LETTERS_BUCKET", "", "no S3"),
        Difference("FLEET_LETTERS_FILE", str(ledger_file.with_name("letters.sqlite")), "where they are kept"),
        Difference("FLEET_FLOWER_PASSWORD", made_up.token_urlsafe(16), "from here, not Secrets Manager", secret=True),
        Difference("FLEET_FLOWER_PORT", TASK_PORT, "each container has an address of its own"),
        *(Difference(name, value, "no task role") for name, value in CREDENTIALS.items()),
        Difference("TMPDIR", TASK_DIRECTORY, "each container has a /tmp of its own"),
        Difference("PATH", binaries, "the image's Python is this one"),
    )


def local_environment(
    table: tuple[Difference, ...],
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
    directory: Path,
) -> dict[str, str]:
    """The environment of one task: as rendered, but for the table.

    Args:
        table: The differences.
        environment: The rendered variables.
        secrets: The rendered secrets: variable and where ECS would read it.
        directory: The task's own directory.

    Raises:
        DemoError: A secret has no local value.
    """
    missing = sorted(set(secrets) - {row.variable for row in table})
    if missing:
        raise DemoError(f"The task definition has a secret that the demo has no value for: {', '.join(missing)}.")
    result = dict(environment)
    for row in table:
        rendered = environment.get(row.variable, "")
        # A task without task modules of its own (the monitor) gets none.
        if RENDERED not in row.value or rendered:
            value = row.value.replace(RENDERED, rendered).replace(TASK_DIRECTORY, str(directory))
            result[row.variable] = str(free_ports(1)[0]) if value == TASK_PORT else value
    return result
