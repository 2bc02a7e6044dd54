"""What is built is what runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import TASK_DEFINITION, containers
from scripts.render import Render

IMAGE: Final = "docker:index/image:Image"
_ARCHITECTURES: Final = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}


def _platform(render: Render) -> Iterator[Problem]:
    """The platform is stated, else it is the builder's own, and tasks run on it."""
    platforms = set()
    for image in render.of_type(IMAGE):
        platform = image.inputs.get("build", {}).get("platform")
        platforms.add(_ARCHITECTURES.get(str(platform)))
        if platform not in _ARCHITECTURES:
            yield at(image, "build.platform", f"{platform}: an image for the machine that builds")
    for definition in render.of_type(TASK_DEFINITION):
        architecture = definition.inputs.get("runtimePlatform", {}).get("cpuArchitecture", "X86_64")
        if platforms and architecture not in platforms:
            yield at(definition, "runtimePlatform", f"{architecture}, but the image is built for {platforms}")


def _digest(render: Render) -> Iterator[Problem]:
    """A task definition names the image by digest: a tag starts no deployment, and may change under it."""
    images = {image.urn for image in render.of_type(IMAGE)}
    for definition in render.of_type(TASK_DEFINITION):
        for part in containers(definition):
            if not re.search(r"@sha256:[0-9a-f]{64}$", part["image"]):
                yield at(definition, "image", f"container {part['name']} names no digest")
        # A stack that names an image builds none.
        if images and not images & set(definition.property_dependencies.get("containerDefinitions", [])):
            yield at(definition, "image", "does not follow what is built")


def _repository(render: Render) -> Iterator[Problem]:
    """Tags stay what they are, images are scanned, old ones go."""
    kept = {policy.inputs["repository"] for policy in render.of_type("ecr/lifecyclePolicy:LifecyclePolicy")}
    for repository in render.of_type("ecr/repository:Repository"):
        if repository.inputs.get("imageTagMutability") != "IMMUTABLE":
            yield at(repository, "imageTagMutability", "a tag may change under a running stack")
        if not repository.inputs.get("imageScanningConfiguration", {}).get("scanOnPush"):
            yield at(repository, "imageScanningConfiguration", "nobody looks at what is pushed")
        if repository.inputs["name"] not in kept:
            yield at(repository, "", "grows for ever: it has no lifecycle policy")


CHECKS: Final[Checks] = {
    "image.platform": _platform,
    "image.digest": _digest,
    "image.repository": _repository,
}
