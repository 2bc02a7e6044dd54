"""Builds the real Dockerfile with the arguments that the Pulumi program gives it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.content import image_tag
from scripts.image.base import PIP_CONFIGURATION, base_image
from scripts.image.engine import Engine
from scripts.image.index import CERTIFICATES, certificates, pip_configuration, pip_settings
from scripts.render import Render

ROOT: Final = Path(__file__).parents[2]
#: How long an image is kept; an old base also lacks Debian's security updates.
KEPT: Final = "168h"


@dataclass(frozen=True)
class Layer:
    """A part of the image.

    Attributes:
        made_by: The instruction of the Dockerfile.
        size: Bytes.
    """

    made_by: str
    size: int


@dataclass(frozen=True)
class Built:
    """An image in the storage.

    Attributes:
        name: With its tag, which says what it was built from.
        id: Podman's.
        config: User, command and so on, as the Dockerfile says.
        layers: What it consists of, the base first.
    """

    name: str
    id: str
    config: Mapping[str, Any]
    layers: Sequence[Layer]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(layer.size for layer in self.layers)

    @property
    def own_size(self) -> int:
        """Bytes on disk without the base."""
        return self.size - self.layers[0].size


def build_command(inputs: Mapping[str, Any], base: str, name: str) -> list[str]:
    """Turn the inputs of Pulumi's image into podman's command.

    Args:
        inputs: Of the `docker.Image`.
        base: The image that stands for the rendered one.
        name: Of the result.
    """
    build = inputs["build"]
    arguments = {**build.get("args", {}), "BASE": base}
    return [
        *("build", "--isolation", "chroot", "--pull=never"),
        *("--file", str(ROOT / build["dockerfile"]), "--tag", name),
        *(word for key, value in sorted(arguments.items()) for word in ("--build-arg", f"{key}={value}")),
    ]


def build(engine: Engine, render: Render) -> Built:
    """Build the image of a stack.

    Raises:
        ImageError: It cannot be built.
    """
    inputs = render.one("docker:index/image:Image").inputs
    # Before the build: what is not built anew keeps its age.
    engine.run("image", "prune", "--all", "--force", "--filter", f"until={KEPT}")
    base = base_image(engine)
    name = f"localhost/service:{image_tag(ROOT, {'BASE': base})}"
    with tempfile.NamedTemporaryFile("w", prefix="pip-", suffix=".conf", dir=engine.directory) as pip:
        # It may hold a password of the index; mounts stay out of the image.
        pip.write(pip_configuration(pip_settings()))
        pip.flush()
        engine.run(
            *build_command(inputs, base, name),
            *("--volume", f"{pip.name}:{PIP_CONFIGURATION}:ro"),
            *("--volume", f"{certificates()}:{CERTIFICATES}:ro"),
            str(ROOT / inputs["build"]["context"]),
        )
    return inspect(engine, name)


def inspect(engine: Engine, name: str) -> Built:
    """Describe an image of the storage."""
    (found,) = json.loads(engine.run("image", "inspect", name))
    history = json.loads(engine.run("history", "--no-trunc", "--format", "json", name))
    layers = [Layer(entry["CreatedBy"].strip(), entry["size"]) for entry in reversed(history) if entry["size"]]
    return Built(name, found["Id"], found["Config"], layers)
