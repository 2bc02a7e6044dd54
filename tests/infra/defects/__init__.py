"""Seeded defects: the mistakes that the checks exist for, one table per concern."""

from __future__ import annotations

from typing import Final

from tests.infra.defects import ecs, redis, surroundings, watching
from tests.infra.defects.draft import Defect

#: What is wrong -> how it is made and who must find it.
DEFECTS: Final[dict[str, Defect]] = redis.DEFECTS | ecs.DEFECTS | watching.DEFECTS | surroundings.DEFECTS
