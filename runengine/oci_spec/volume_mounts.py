"""What a mount says of the volume that it shows: the name, and how to make and fill it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from runengine.errors import InvalidParameter

MAX_NAME = 240
"""Names of volumes are file names, with some letters to spare."""
REPLACE_MODES = ("dr", "rr")
"""Instead of the volume's root a directory in it: with the destination's name, or a new one."""
KEYS = frozenset(f"volume-{name}" for name in ("nocopy", "driver", "label", "opt", "subpath"))
_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"  # compiled when the first volume is named


class VolumeWish(NamedTuple):
    """A volume as a mount asks for it."""

    name: str = ""
    """Empty until the engine has chosen one for an anonymous volume."""
    anonymous: bool = False
    """Whether the user has left the name to the engine: it goes with its container."""
    driver: str = ""
    labels: dict[str, str] = {}  # noqa: RUF012
    options: dict[str, str] = {}  # noqa: RUF012
    nocopy: bool = False
    """Whether an empty one stays empty, whatever the image has at the destination."""
    subpath: str = ""
    """A file or directory in the volume that is mounted instead of its root."""
    replace: str = ""
    """One of REPLACE_MODES, or nothing."""


def check_name(name: str) -> str:
    """Return the volume's name. Raises InvalidParameter."""
    if not re.fullmatch(_NAME, name):
        raise InvalidParameter(
            f"create {name}: {name!r} includes invalid characters for a local volume name, only"
            ' "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            resolution="if you intended to pass a host directory, use an absolute path",
        )
    if len(name) < 2:
        raise InvalidParameter(
            f"volume name {name!r} is too short: names have at least two characters"
        )
    if len(name) > MAX_NAME:
        raise InvalidParameter(f"volume name is too long: {len(name)} characters of {MAX_NAME}")
    return name


def set_option(options: dict[str, Any], key: str, value: str, text: str) -> None:
    """Set a ``volume-…`` key of ``--mount`` in an API mount's VolumeOptions.

    Raises InvalidParameter naming the flag's ``text``.
    """
    driver: dict[str, Any] = options.setdefault("DriverConfig", {})
    match key:
        case "volume-subpath":
            options["Subpath"] = value
        case "volume-driver":
            driver["Name"] = value
        case "volume-label":
            label, _, content = value.partition("=")
            options.setdefault("Labels", {})[label] = content
        case "volume-opt":
            option, equals, content = value.partition("=")
            if not option or not equals:
                raise InvalidParameter(
                    f"invalid volume-opt {value!r} in --mount {text!r}",
                    resolution='use volume-opt=KEY=VALUE; quote commas: "volume-opt=o=a,b"',
                )
            driver.setdefault("Options", {})[option] = content


def wish(name: str, options: dict[str, Any], text: str) -> VolumeWish:
    """The volume behind an API mount of type volume. Raises InvalidParameter."""
    if name:
        check_name(name)
    driver = options.get("DriverConfig") or {}
    subpath = str(options.get("Subpath") or "")
    if subpath.startswith("/") or ".." in subpath.split("/") or "\0" in subpath:
        raise InvalidParameter(
            f"invalid mount {text!r}: subpath {subpath!r} must be a relative path within the"
            " volume"
        )
    return VolumeWish(
        name,
        not name,
        driver.get("Name") or "",
        dict(options.get("Labels") or {}),
        dict(driver.get("Options") or {}),
        bool(options.get("NoCopy")),
        subpath,
    )
