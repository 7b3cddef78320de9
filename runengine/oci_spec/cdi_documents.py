"""The model of a CDI specification (CDI's SPEC.md and schema.json), which vendors write.

Imported only where a container has such a device.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from runengine.errors import InvalidParameter
from runengine.oci_spec import cdi
from runengine.oci_spec.devices import is_access

Uint32 = Annotated[int, Field(ge=0, le=(1 << 32) - 1, strict=True)]
Absolute = Annotated[str, Field(pattern=r"^/[^\x00]*$")]
Variable = Annotated[str, Field(pattern=r"^[^=\x00]+=[^\x00]*$")]
_VERSION = r"^v?(0\.[3-9]|1\.[0-9]+)\.[0-9]+$"


class Model(BaseModel):
    """Base: no unknown keys, which may be the very ones that matter."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class DeviceNode(Model):
    """A device node; without numbers it is the host's at ``hostPath``, or at ``path``."""

    path: Absolute
    host_path: Absolute | None = None
    type: Literal["b", "c", "u", "p"] | None = None
    major: Uint32 | None = None
    minor: Uint32 | None = None
    file_mode: int | None = Field(default=None, ge=0, le=0o7777, strict=True)
    permissions: str = ""
    uid: Uint32 | None = None
    gid: Uint32 | None = None

    @model_validator(mode="after")
    def _access(self) -> DeviceNode:
        if self.permissions and not is_access(self.permissions):
            raise ValueError(f"permissions {self.permissions!r} are none of r, w and m")
        return self


class Mount(Model):
    """A mount; ``type`` is a bind unless it says otherwise."""

    host_path: str = Field(min_length=1)
    container_path: Absolute
    options: list[str] = Field(default_factory=list)
    type: str = ""


class Hook(Model):
    """A program that the runtime runs."""

    hook_name: Literal[
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ]
    path: Absolute
    args: list[str] | None = None
    env: list[Variable] | None = None
    timeout: int | None = Field(default=None, ge=0, strict=True)


class IntelRdt(Model):
    """config-linux.md#intelrdt."""

    clos_id: str | None = Field(default=None, alias="closID")
    l3_cache_schema: str | None = None
    mem_bw_schema: str | None = None
    schemata: list[str] | None = None
    enable_monitoring: bool | None = None
    enable_cmt: bool | None = Field(default=None, alias="enableCMT")
    enable_mbm: bool | None = Field(default=None, alias="enableMBM")


class NetDevice(Model):
    """A network interface that moves into the container."""

    host_interface_name: str
    name: str


class ContainerEdits(Model):
    """What a device is to a container."""

    env: list[Variable] = Field(default_factory=list)
    device_nodes: list[DeviceNode] = Field(default_factory=list)
    mounts: list[Mount] = Field(default_factory=list)
    hooks: list[Hook] = Field(default_factory=list)
    additional_gids: list[Uint32] = Field(default_factory=list, alias="additionalGids")
    intel_rdt: IntelRdt | None = None
    net_devices: list[NetDevice] = Field(default_factory=list)


class Device(Model):
    """One device of the kind."""

    name: str = Field(pattern=rf"^{cdi.DEVICE_PATTERN}$")
    annotations: dict[str, str] = Field(default_factory=dict)
    container_edits: ContainerEdits = Field(default_factory=ContainerEdits)


class Document(Model):
    """A specification: a kind, its devices, and what any one of them brings along."""

    cdi_version: str = Field(pattern=_VERSION)
    kind: str = Field(pattern=rf"^{cdi.KIND_PATTERN}$")
    annotations: dict[str, str] = Field(default_factory=dict)
    devices: list[Device] = Field(min_length=1)
    container_edits: ContainerEdits = Field(default_factory=ContainerEdits)

    @model_validator(mode="after")
    def _unique_names(self) -> Document:
        names = [device.name for device in self.devices]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two devices are named {', '.join(sorted(twice))}")
        return self


def parse(data: bytes, path: str) -> Document:
    """The specification in a file. Raises InvalidParameter naming the file and the field."""
    try:
        return Document.model_validate(_load(data, path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        words = first["msg"].removeprefix("Value error, ")
        raise InvalidParameter(f"CDI specification {path}: {where}: {words}") from None


def _load(data: bytes, path: str) -> Any:
    if path.endswith(".json"):
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidParameter(f"CDI specification {path}: no JSON: {error}") from None
    import yaml

    # The one in C is ten times as fast, and not everywhere.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(data, Loader=loader)  # noqa: S506 - both are safe ones
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise InvalidParameter(f"CDI specification {path}: no YAML: {words}") from None
