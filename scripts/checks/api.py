"""AWS would accept the request: names, types, required parameters, enums, patterns and ranges of the API's model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from scripts.checks.aws_model import problems
from scripts.checks.problem import Checks, Problem, at
from scripts.checks.requests import REQUESTS, WITHOUT_REQUEST
from scripts.render import Render


def _requests(render: Render) -> Iterator[Problem]:
    for resource in render.resources:
        if resource.type in WITHOUT_REQUEST or not resource.type.startswith("aws:"):
            continue
        request = REQUESTS.get(resource.type)
        if request is None:
            yield at(resource, "", "nobody has said which request creates it: add it to scripts/checks/requests.py")
            continue
        try:
            parameters = request.build(resource.inputs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield at(resource, "", f"no {request.operation} can be made of it: {error!r}")
            continue
        for text in problems(request.service, request.operation, parameters):
            yield at(resource, "", text)


CHECKS: Final[Checks] = {"api.requests": _requests}
