"""The grammars of ``-v``, ``--mount`` and ``--tmpfs``, and the resolved mount they lead to.

Sources: Docker CLI reference (``run``, bind and tmpfs mounts), mount(8), runtime-spec
config.md#mounts.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter
from runengine.oci_spec import volume_mounts
from runengine.oci_spec.volume_mounts import REPLACE_MODES, VolumeWish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.model import MountSpec

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
DEFAULT_PROPAGATION = "rprivate"


class MountPoint(NamedTuple):
    """A user's mount, resolved: the destination is clean and absolute."""

    type: str
    """``bind``, ``volume`` or ``tmpfs``."""
    source: str
    """Host path of a bind, and of a volume once its data is there; empty for a tmpfs."""
    destination: str
    readonly: bool = False
    propagation: str = DEFAULT_PROPAGATION
    """One of PROPAGATIONS; binds only."""
    options: tuple[str, ...] = ()
    """Further mount options (a tmpfs's size and mode ...)."""
    recursive: bool = True
    """Whether mounts below the source come along."""
    recursive_readonly: bool | None = None
    """Read-only below as well: None = where the kernel can, True = or fail, False = never."""
    create_source: bool = False
    """Whether a missing source folder is to be made (``-v`` does, ``--mount`` does not)."""
    idmap: bool = False
    """Whether files have the owners in the container's user namespace that they have on disk."""
    mode: str = ""
    """The mode words as the user gave them, for ``inspect``."""
    volume: VolumeWish | None = None
    """Which volume it shows, if it does."""


class _Modes(NamedTuple):
    readonly: bool
    propagation: str
    idmap: bool
    nocopy: bool
    replace: str


_FAMILIES = {
    "ro": "access",
    "rw": "access",
    "z": "label",
    "Z": "label",
    "nocopy": "copy",
    **dict.fromkeys(REPLACE_MODES, "replace"),
    "idmap": "owners",
    "consistent": "consistency",
    "cached": "consistency",
    "delegated": "consistency",
    **dict.fromkeys(PROPAGATIONS, "propagation"),
}


def parse_bind(text: str) -> MountPoint:
    """Parse ``-v [SOURCE:]DESTINATION[:MODES]``; the source is a host's path or a volume's name.

    Raises InvalidParameter for what is malformed.
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidParameter(
            f"unknown volume bind: invalid volume specification {text!r}",
            resolution="use [SOURCE:]DESTINATION[:MODES]",
        )
    if len(parts) == 1:
        return anonymous_volume(parts[0])
    source, destination = parts[0], clean_destination(parts[1], text)
    mode = parts[2] if len(parts) == 3 else ""
    modes = _parse_modes(mode, text)
    if not source.startswith("/"):
        return _named_volume(source, destination, modes, mode)
    if modes.replace:
        raise InvalidParameter(
            f"invalid bind mode in volume specification {text!r}: {modes.replace} needs a volume"
        )
    return MountPoint(
        "bind",
        posixpath.normpath(_no_nul(source, text)),
        destination,
        modes.readonly,
        modes.propagation,
        idmap=modes.idmap,
        create_source=True,
        mode=mode,
    )


def _named_volume(name: str, destination: str, modes: _Modes, mode: str) -> MountPoint:
    volume_mounts.check_name(name)
    return MountPoint(
        "volume",
        "",
        destination,
        modes.readonly,
        modes.propagation,
        idmap=True,
        mode=mode,
        volume=VolumeWish(name, nocopy=modes.nocopy, replace=modes.replace),
    )


def anonymous_volume(destination: str) -> MountPoint:
    """A volume that has no name yet, as an image's VOLUME and ``-v DESTINATION`` want it."""
    clean = clean_destination(destination, destination)
    return MountPoint("volume", "", clean, idmap=True, volume=VolumeWish(anonymous=True))


def _parse_modes(modes: str, text: str) -> _Modes:
    seen: dict[str, str] = {}
    for word in modes.split(",") if modes else ():
        family = _FAMILIES.get(word)
        if family is None:
            raise InvalidParameter(
                f"unknown bind mode: invalid mode {word!r} in volume specification {text!r}"
            )
        if family in seen:
            raise InvalidParameter(
                f"invalid bind mode in volume specification {text!r}: {seen[family]} and {word}"
            )
        seen[family] = word
    return _Modes(
        seen.get("access") == "ro",
        seen.get("propagation", DEFAULT_PROPAGATION),
        "owners" in seen,
        "copy" in seen,
        seen.get("replace", ""),
    )


def clean_destination(path: str, text: str) -> str:
    """The normal form of a mount's absolute destination. Raises InvalidParameter."""
    if not path.startswith("/"):
        raise InvalidParameter(
            f"invalid bind path in mount {text!r}: mount path must be absolute: {path!r} is not"
        )
    # normpath keeps the two leading slashes that POSIX lets mean something else.
    clean = "/" + posixpath.normpath(_no_nul(path, text)).lstrip("/")
    if clean == "/":
        raise InvalidParameter(f"invalid mount {text!r}: destination can't be '/'")
    return clean


def _no_nul(path: str, text: str) -> str:
    if "\0" in path:
        raise InvalidParameter(f"invalid mount {text!r}: a path cannot hold a NUL character")
    return path


def parse_tmpfs(text: str) -> tuple[str, str]:
    """Parse ``--tmpfs PATH[:OPTIONS]`` to the pair that HostConfig.Tmpfs keeps."""
    path, _, options = text.partition(":")
    tmpfs_mount(path, options)
    return path, options


_TMPFS_FLAGS = frozenset(
    (
        *("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async"),
        *("dirsync", "mand", "nomand", "atime", "noatime", "diratime", "nodiratime"),
        *("relatime", "norelatime", "strictatime", "nostrictatime", "defaults"),
        *("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable"),
    )
)
_TMPFS_KEYS = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
_TMPFS_BASE = ("noexec", "nosuid", "nodev")


def tmpfs_mount(path: str, options: str) -> MountPoint:
    """The mount for a ``--tmpfs`` entry: no exec, setuid or devices unless asked for."""
    destination = clean_destination(path, path)
    words = [word for word in options.split(",") if word]
    for word in words:
        key, equals, value = word.partition("=")
        known = key in _TMPFS_KEYS and value if equals else word in _TMPFS_FLAGS
        if not known:
            raise InvalidParameter(f"invalid tmpfs option {word!r} for {path}")
    chosen = [flag for flag in _TMPFS_BASE if flag.removeprefix("no") not in words]
    chosen += [word for word in words if word not in chosen and word not in ("rw", "defaults")]
    readonly = "ro" in chosen
    return MountPoint(
        "tmpfs",
        "",
        destination,
        readonly,
        options=tuple(word for word in chosen if word != "ro"),
        mode=options,
    )


_MOUNT_TYPES = ("bind", "tmpfs", "volume")
_TYPE_ALIASES = {"type": "Type", "source": "Source", "src": "Source"}
_TARGET_KEYS = ("target", "dst", "destination")
_READONLY_KEYS = ("readonly", "ro")
_WORDS = (*_READONLY_KEYS, "bind-nonrecursive", "idmap", "volume-nocopy")
"""Keys that need no value."""


def parse_mount(text: str) -> MountSpec:
    """Parse ``--mount type=bind,src=...,dst=...`` (one CSV line) to an API mount.

    Raises InvalidParameter; whether the type is supported is decided by ``resolve_mount``.
    """
    mount: MountSpec = {"Type": "volume"}
    for field in _csv_fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in _WORDS:
            raise InvalidParameter(f"invalid field {field!r} in --mount {text!r}: use key=value")
        _set_mount_field(mount, key, value if equals else "true", text)
    if mount["Type"] not in _MOUNT_TYPES:
        raise InvalidParameter(
            f"invalid mount type {mount['Type']!r} in --mount {text!r}",
            resolution="the types are bind, tmpfs and volume",
        )
    if not mount.get("Target"):
        raise InvalidParameter(f"invalid --mount {text!r}: target is required")
    _check_options_fit(mount, text)
    return mount


def _csv_fields(text: str) -> list[str]:
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidParameter(f"invalid --mount {text!r}: {error}") from None
    fields = [field.strip() for field in rows[0]] if rows else []
    if not fields or not all(fields):
        raise InvalidParameter(f"invalid --mount {text!r}: empty field")
    return fields


def _set_mount_field(mount: MountSpec, key: str, value: str, text: str) -> None:
    if key in _TYPE_ALIASES:
        name = _TYPE_ALIASES[key]
        if name == "Type":
            mount["Type"] = value.lower()
        else:
            mount["Source"] = value
    elif key in _TARGET_KEYS:
        mount["Target"] = value
    elif key in _READONLY_KEYS:
        mount["ReadOnly"] = _boolean(value, key, text)
    elif key == "consistency":
        mount["Consistency"] = value
    else:
        _set_type_option(mount, key, value, text)


def _set_type_option(mount: MountSpec, key: str, value: str, text: str) -> None:
    match key.partition("-")[0]:
        case "bind" | "idmap":
            options = _bind_option(key, value, text)
            mount["BindOptions"] = {**mount.get("BindOptions", {}), **options}
        case "tmpfs":
            options = _tmpfs_option(key, value, text)
            mount["TmpfsOptions"] = {**mount.get("TmpfsOptions", {}), **options}
        case "volume" if key == "volume-nocopy":
            mount.setdefault("VolumeOptions", {})["NoCopy"] = _boolean(value, key, text)
        case "volume" if key in volume_mounts.KEYS:
            volume_mounts.set_option(mount.setdefault("VolumeOptions", {}), key, value, text)
        case _:
            raise _unknown_key(key, text)


def _unknown_key(key: str, text: str) -> InvalidParameter:
    return InvalidParameter(f"unexpected key {key!r} in --mount {text!r}")


def _bind_option(key: str, value: str, text: str) -> dict[str, Any]:
    match key:
        case "bind-propagation" if value in PROPAGATIONS:
            return {"Propagation": value}
        case "bind-propagation":
            raise InvalidParameter(f"invalid propagation {value!r} in --mount {text!r}")
        case "idmap":
            return {"IDMap": _boolean(value or "true", key, text)}
        case "bind-nonrecursive":
            return {"NonRecursive": _boolean(value, key, text)}
        case "bind-recursive":
            return dict(_bind_recursive(value, text))
    raise _unknown_key(key, text)


def _tmpfs_option(key: str, value: str, text: str) -> dict[str, Any]:
    match key:
        case "tmpfs-size":
            return {"SizeBytes": parse_size(value, f"tmpfs-size in --mount {text!r}")}
        case "tmpfs-mode":
            return {"Mode": _octal(value, text)}
    raise _unknown_key(key, text)


def _bind_recursive(value: str, text: str) -> dict[str, bool]:
    match value:
        case "enabled":
            return {}
        case "disabled":
            return {"NonRecursive": True}
        case "writable":
            return {"ReadOnlyNonRecursive": True}
        case "readonly":
            return {"ReadOnlyForceRecursive": True}
    raise InvalidParameter(
        f"invalid value {value!r} for bind-recursive in --mount {text!r}",
        resolution="use enabled, disabled, writable or readonly",
    )


def _check_options_fit(mount: MountSpec, text: str) -> None:
    kind = mount["Type"]
    for name, owner in (
        ("BindOptions", "bind"),
        ("TmpfsOptions", "tmpfs"),
        ("VolumeOptions", "volume"),
    ):
        if name in mount and owner != kind:
            raise InvalidParameter(
                f"invalid --mount {text!r}: cannot mix {owner}-* options with type {kind!r}"
            )


def _boolean(value: str, key: str, text: str) -> bool:
    if value.lower() in ("1", "t", "true"):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise InvalidParameter(f"invalid value {value!r} for {key} in --mount {text!r}")


def _octal(value: str, text: str) -> int:
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise InvalidParameter(f"invalid mode {value!r} for tmpfs-mode in --mount {text!r}")
    return mode


_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def parse_size(value: str, what: str) -> int:
    """Bytes of ``64m``, ``1.5g``, ``2GiB``, ``100``. Raises InvalidParameter naming ``what``."""
    text = value.strip().lower()
    number = text.rstrip("bikmgtp")
    unit = text[len(number) :].strip()
    unit = unit.removesuffix("ib") if len(unit) == 3 else unit
    unit = unit.removesuffix("b") if len(unit) == 2 else unit
    digits = number.strip().replace(".", "", 1)
    if unit not in _UNITS or not (digits.isascii() and digits.isdigit()):
        raise InvalidParameter(f"invalid size {value!r} for {what}", resolution="use e.g. 64m")
    number = number.strip()
    return int(float(number) * _UNITS[unit]) if "." in number else int(number) * _UNITS[unit]


def resolve_mount(mount: MountSpec) -> MountPoint:
    """The mount for an API ``Mounts`` entry. Raises InvalidParameter."""
    kind = mount.get("Type", "volume")
    target = mount.get("Target", "")
    text = f"type={kind},target={target}"
    destination = clean_destination(target, text)
    if kind == "tmpfs":
        return _resolve_tmpfs(mount, destination, text)
    if kind == "bind":
        return _resolve_bind(mount, destination, text)
    if kind == "volume":
        return _resolve_volume(mount, destination, text)
    raise InvalidParameter(f"invalid mount type {kind!r} for {target}")


def _resolve_volume(mount: MountSpec, destination: str, text: str) -> MountPoint:
    wish = volume_mounts.wish(
        mount.get("Source") or "", mount.get("VolumeOptions") or {}, text
    )
    readonly = mount.get("ReadOnly", False)
    return MountPoint("volume", "", destination, readonly, idmap=True, volume=wish)


def _resolve_bind(mount: MountSpec, destination: str, text: str) -> MountPoint:
    source = mount.get("Source", "")
    options: dict[str, Any] = mount.get("BindOptions") or {}
    if not source.startswith("/"):
        raise InvalidParameter(
            f"invalid mount {text!r}: bind source {source!r} must be an absolute path"
        )
    readonly = mount.get("ReadOnly", False)
    forced = options.get("ReadOnlyForceRecursive", False)
    if forced and not readonly:
        raise InvalidParameter(f"invalid mount {text!r}: bind-recursive=readonly needs readonly")
    propagation = options.get("Propagation") or DEFAULT_PROPAGATION
    if propagation not in PROPAGATIONS:
        raise InvalidParameter(f"invalid propagation {propagation!r} for mount {text!r}")
    return MountPoint(
        "bind",
        posixpath.normpath(_no_nul(source, text)),
        destination,
        readonly,
        propagation,
        recursive=not options.get("NonRecursive", False),
        recursive_readonly=True if forced else _never(options),
        idmap=bool(options.get("IDMap", False)),
        create_source=bool(options.get("CreateMountpoint", False)),
    )


def _never(options: dict[str, Any]) -> bool | None:
    return False if options.get("ReadOnlyNonRecursive") else None


def _resolve_tmpfs(mount: MountSpec, destination: str, text: str) -> MountPoint:
    if mount.get("Source"):
        raise InvalidParameter(f"invalid mount {text!r}: a tmpfs has no source")
    options: dict[str, Any] = mount.get("TmpfsOptions") or {}
    words = [*_TMPFS_BASE]
    if options.get("SizeBytes"):
        words.append(f"size={int(options['SizeBytes'])}")
    if options.get("Mode"):
        words.append(f"mode={int(options['Mode']):o}")
    return MountPoint(
        "tmpfs", "", destination, mount.get("ReadOnly", False), options=tuple(words)
    )


def parents_first(points: Iterable[MountPoint]) -> list[MountPoint]:
    """Sorted so that no mount hides a later one below it; stable for equal depths."""
    return sorted(points, key=lambda point: depth(point.destination))


def depth(path: str) -> int:
    """Number of components of an absolute, clean path."""
    return path.count("/") if path != "/" else 0
