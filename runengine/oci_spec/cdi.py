"""Devices by name: the Container Device Interface (CDI 0.3 to 1.x, SPEC.md).

A vendor's specification in ``/etc/cdi`` or ``/var/run/cdi`` says what its device is to a
container: variables, device nodes, mounts, hooks, groups. Here are the names and the resolved
edits; ``cdi_documents`` has the specifications' model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from runengine.linux.devices import DeviceEntry
    from runengine.model import DeviceRequest

DRIVER = "cdi"
ALL = "all"
"""The device that is all of them: of its own in a specification, or else every other one."""
_VENDOR = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_CLASS = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
DEVICE_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?"
KIND_PATTERN = rf"{_VENDOR}/{_CLASS}"
_NAME = re.compile(rf"({KIND_PATTERN})=({DEVICE_PATTERN})")


class Name(NamedTuple):
    """A device: whose and what it is, and which one."""

    kind: str
    """``vendor.com/class``."""
    device: str

    def __str__(self) -> str:
        return f"{self.kind}={self.device}"


class Hook(NamedTuple):
    """A program that the runtime runs, and when."""

    when: str
    """``prestart``, ``createRuntime`` ... (config.md#posix-platform-hooks)."""
    section: dict[str, Any]


class Edits(NamedTuple):
    """What a container gets, device numbers looked up."""

    env: tuple[str, ...] = ()
    devices: tuple[DeviceEntry, ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    hooks: tuple[Hook, ...] = ()
    additional_gids: tuple[int, ...] = ()
    intel_rdt: dict[str, Any] | None = None


def is_name(text: str) -> bool:
    """Whether ``text`` is a device's full name, and so no path."""
    return _NAME.fullmatch(text) is not None


def parse_name(text: str) -> Name:
    """Parse ``vendor.com/class=name``. Raises InvalidParameter."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise InvalidParameter(
            f"invalid CDI device name {text!r}", resolution="VENDOR/CLASS=NAME"
        )
    return Name(match[1], match[2])


def request(names: list[str]) -> DeviceRequest:
    """How the record keeps them, which is Docker's way."""
    return {
        "Driver": DRIVER,
        "Count": 0,
        "DeviceIDs": names,
        "Capabilities": None,
        "Options": None,
    }
