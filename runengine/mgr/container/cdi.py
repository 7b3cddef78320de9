"""Devices by name: reading the specifications on this host, and looking devices up in them.

Directories are read at each start, in order; a device in a later one hides that of an earlier
one. The record keeps the names alone, so a container gets what its devices are today.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound, Unsupported
from runengine.linux import devices
from runengine.linux.devices import DeviceEntry
from runengine.mgr.container.operator_files import content
from runengine.oci_spec import cdi, cdi_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runengine.oci_spec.users import User

_SUFFIXES = (".json", ".yaml")
_SIZE_LIMIT = 16 << 20
_DEFAULT_MODE = 0o666
_BINDS = frozenset(("bind", "rbind"))
_TOLD = 3
"""Damaged files of which an error tells why."""


class Specification(NamedTuple):
    """A vendor's file."""

    path: str
    document: cdi_documents.Document


class Found(NamedTuple):
    """A device, and the file that has it."""

    specification: Specification
    device: cdi_documents.Device


class Registry:
    """Every device that the host's specifications tell of."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.directories = tuple(directories)
        self.damaged: list[InvalidParameter] = []
        self._devices: dict[cdi.Name, Found] = {}
        self._conflicts: dict[cdi.Name, tuple[str, str]] = {}
        for directory in self.directories:
            self._read(directory)

    def _read(self, directory: str) -> None:
        here: dict[cdi.Name, Found] = {}
        conflicts: dict[cdi.Name, tuple[str, str]] = {}
        for path in _files(directory):
            try:
                text = content(path, "CDI specification", _SIZE_LIMIT)
                specification = Specification(path, cdi_documents.parse(text, path))
            except InvalidParameter as error:
                self.damaged.append(error)
                continue
            for device in specification.document.devices:
                name = cdi.Name(specification.document.kind, device.name)
                other = here.setdefault(name, Found(specification, device))
                if other.specification is not specification:
                    conflicts[name] = (other.specification.path, path)
        for name, found in here.items():
            self._devices[name] = found
            self._conflicts.pop(name, None)
        self._conflicts.update(conflicts)

    def has_kind(self, kind: str) -> bool:
        """Whether there is a device of the kind."""
        return any(name.kind == kind for name in self._devices)

    def find(self, name: cdi.Name) -> list[Found]:
        """The device, or every device of the kind. Raises NotFound, InvalidParameter."""
        wanted = [name]
        if name.device == cdi.ALL and name not in self._devices:
            wanted = [other for other in self._devices if other.kind == name.kind]
        for one in wanted:
            if one in self._conflicts:
                first, second = self._conflicts[one]
                raise InvalidParameter(
                    f"CDI device {one} is in both {first} and {second}",
                    resolution="remove one of the two; a later directory would hide an earlier",
                )
        found = [self._devices[one] for one in wanted if one in self._devices]
        if not found:
            raise self._missing(name)
        return found

    def _missing(self, name: cdi.Name) -> NotFound:
        known = sorted(other.device for other in self._devices if other.kind == name.kind)
        there = f"{name.kind} has {', '.join(known)}" if known else f"none is of {name.kind}"
        broken = [str(error) for error in self.damaged]
        if len(broken) > _TOLD:
            broken[_TOLD:] = [f"{len(broken) - _TOLD} more files cannot be read"]
        return NotFound(
            f"CDI device injection failed: unresolvable CDI devices {name}",
            details="; ".join([there, *broken]),
            resolution=f"specifications are read from {' and '.join(self.directories)}",
        )


def _files(directory: str) -> list[str]:
    """Specifications in the directory itself, in name order."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []  # none was ever made, or it is none
    return [f"{directory}/{name}" for name in names if name.endswith(_SUFFIXES)]


def edits_of(registry: Registry, names: Iterable[cdi.Name], user: User) -> Iterator[cdi.Edits]:
    """What the devices are to a container that runs as ``user``, in the order of their names.

    What a specification says of all its devices comes once, before the first of them. Raises
    NotFound, InvalidParameter, Unsupported.
    """
    seen: set[str] = set()
    given: set[tuple[str, str]] = set()
    for name in names:
        for specification, device in registry.find(name):
            if specification.path not in seen:
                seen.add(specification.path)
                yield _resolved(specification, specification.document.container_edits, user)
            if (specification.path, device.name) not in given:
                given.add((specification.path, device.name))
                yield _resolved(specification, device.container_edits, user)


def _resolved(
    specification: Specification, edits: cdi_documents.ContainerEdits, user: User
) -> cdi.Edits:
    if edits.net_devices:
        raise Unsupported(
            f"CDI specification {specification.path}: netDevices needs a runtime newer than 1.3",
            resolution="give the container the interface by a network of its own",
        )
    rdt = edits.intel_rdt
    return cdi.Edits(
        env=tuple(edits.env),
        devices=tuple(_node(specification, node, user) for node in edits.device_nodes),
        mounts=tuple(_mount(specification, mount) for mount in edits.mounts),
        hooks=tuple(_hook(hook) for hook in edits.hooks),
        additional_gids=tuple(edits.additional_gids),
        intel_rdt=None if rdt is None else rdt.model_dump(by_alias=True, exclude_none=True),
    )


def _node(
    specification: Specification, node: cdi_documents.DeviceNode, user: User
) -> DeviceEntry:
    """Numbers that the file leaves out are the host's; so are owner and mode with them."""
    source = node.host_path or node.path
    access = node.permissions or "rwm"
    if node.type is None or (node.type != "p" and None in (node.major, node.minor)):
        try:
            base = devices.entry(source, node.path, access)
        except (OSError, ValueError) as error:
            raise InvalidParameter(
                f"CDI specification {specification.path}: device {source}: {error.args[-1]}"
            ) from None
        if node.type not in (None, base.type, "u" if base.type == "c" else None):
            raise InvalidParameter(
                f"CDI specification {specification.path}: device {source} is of type {base.type},"
                f" not {node.type}"
            )
    else:
        numbers = (node.major or 0, node.minor or 0)
        base = DeviceEntry(node.path, node.type, *numbers, _DEFAULT_MODE, 0, 0, access)
    return base._replace(
        mode=base.mode if node.file_mode is None else node.file_mode & 0o7777,
        # A container of another user than root could open nothing of root's.
        uid=(user.uid or base.uid) if node.uid is None else node.uid,
        gid=(user.gid or base.gid) if node.gid is None else node.gid,
    )


def _mount(specification: Specification, mount: cdi_documents.Mount) -> dict[str, object]:
    options = list(mount.options)
    kind = mount.type or "bind"
    if kind == "bind":
        if not _BINDS.intersection(options):
            options.insert(0, "rbind")
        if not os.path.lexists(mount.host_path):
            raise InvalidParameter(
                f"CDI specification {specification.path}: nothing is at {mount.host_path}, to be"
                f" mounted at {mount.container_path}"
            )
    return {
        "destination": mount.container_path,
        "type": kind,
        "source": mount.host_path,
        "options": options,
    }


def _hook(hook: cdi_documents.Hook) -> cdi.Hook:
    section = hook.model_dump(exclude={"hook_name"}, exclude_none=True)
    if not section.get("timeout"):
        section.pop("timeout", None)  # no limit
    return cdi.Hook(hook.hook_name, section)
