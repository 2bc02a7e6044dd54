"""Imported by the process that the renders of a pool are forked from.

pulumi_aws imports a module when its first resource is made: only a render has imported them all.
"""

from contextlib import suppress

import pulumi

from scripts.render.project import ProjectError, stacks
from scripts.render.run import run

# A stack file may be wrong; whoever asks for its render is told.
with suppress(ProjectError, pulumi.RunError):
    run(stacks()[0])
