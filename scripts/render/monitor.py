"""A resource monitor that answers like AWS and writes down what the program asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2

from scripts.render.placeholders import outputs_of, results_of

STACK_TYPE = "pulumi:pulumi:Stack"
SECRET = "[secret]"  # noqa: S105 - what stands where a secret was


class DuplicateUrnError(Exception):
    """Two resources have the same type, parent type and name; the engine would refuse the program."""


@dataclass
class Recording:
    """What the program registered.

    Attributes:
        resources: In order of registration; see `Render.resources`.
        outputs: The stack's exports.
    """

    resources: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)


class _Answers(mocks.Mocks):
    """What `MockMonitor` asks for invokes; resources are answered by `RecordingMonitor` itself."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return results_of(args.token, args.args), []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        state = outputs_of(args.typ, args.name, args.inputs)
        return state.get("id", f"{args.name}-id"), state


class RecordingMonitor(mocks.MockMonitor):
    """A `MockMonitor` that keeps each request as the program sent it, and marks secret outputs as the provider does."""

    def __init__(self, preview: bool = False) -> None:
        """Start with an empty recording; in a preview nothing is created, so no output of a resource is known."""
        super().__init__(_Answers())
        self.recording = Recording()
        self._preview = preview

    def features(self) -> set[int]:
        """Return what the monitor can do, as the engine would tell the SDK."""
        base: Any = super()
        return set(base.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures)

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Return the URN that the engine would give: with the types of all parents, without the stack's."""
        parents = "" if not parent or f"::{STACK_TYPE}::" in parent else parent.split("::")[2] + "$"
        return super().make_urn("", parents + type_, name)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the RPC's name
        """Record and answer one registration.

        Raises:
            DuplicateUrnError: If the URN is taken.
        """
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        if any(record["urn"] == urn for record in self.recording.resources):
            raise DuplicateUrnError(f"two resources have the URN {urn}")
        inputs, secret_paths = mask(MessageToDict(request.object))
        self.recording.resources.append(
            {
                "type": request.type,
                "name": request.name,
                "urn": urn,
                "parent": "" if f"::{STACK_TYPE}::" in request.parent else request.parent,
                "component": not request.custom,
                "inputs": inputs,
                "secretPaths": sorted(secret_paths),
                "dependencies": sorted(request.dependencies),
                "propertyDependencies": {
                    key: sorted(value.urns) for key, value in sorted(request.propertyDependencies.items()) if value.urns
                },
                "protect": request.protect,
                "ignoreChanges": sorted(request.ignoreChanges),
                "aliases": sorted(str(alias) for alias in request.aliases),
                "customTimeouts": {
                    key: getattr(request.customTimeouts, key)
                    for key in ("create", "update", "delete")
                    if getattr(request.customTimeouts, key)
                },
                "provider": request.provider,
                "deleteBeforeReplace": request.deleteBeforeReplace,
                "retainOnDelete": request.retainOnDelete,
            }
        )
        if self._preview:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        base: Any = super()  # the SDK's mocks carry no types
        response = base.RegisterResource(request)
        for name in set(request.additionalSecretOutputs) & set(response.object.fields):
            plain = MessageToDict(response.object)[name]
            response.object.update({name: {rpc._special_sig_key: rpc._special_secret_sig, "value": plain}})
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the RPC's name
        """Keep the stack's outputs."""
        if f"::{STACK_TYPE}::" in request.urn:
            self.recording.outputs = mask(MessageToDict(request.outputs))[0]
        return empty_pb2.Empty()


def mask(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """Return `value`, as it goes over the wire, without its secrets, and the paths where they were."""
    found: list[str] = []
    if isinstance(value, Mapping):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return SECRET, [path]
        masked = {}
        for key in sorted(value):
            masked[key], inner = mask(value[key], f"{path}.{key}" if path else str(key))
            found += inner
        return masked, found
    if isinstance(value, list | tuple):
        items = []
        for index, item in enumerate(value):
            masked_item, inner = mask(item, f"{path}[{index}]")
            items.append(masked_item)
            found += inner
        return items, found
    if isinstance(value, float) and value.is_integer():
        return int(value), found
    return value, found
