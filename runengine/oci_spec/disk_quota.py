"""``--disk-quota``, ``--quota-id`` and ``--storage-opt``: which of a container's directories may
hold how much, together or each for itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runengine.model import HostConfig

ROOT = "/"
EVERYTHING = ".*"
ALLOCATE = -1
LAST_ID = (1 << 32) - 2
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(b|[kmgt]b?)?", re.ASCII | re.IGNORECASE)
_SHIFTS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_STORAGE_KEYS = ("size", "inodes")


class Budget(NamedTuple):
    """What some directories may hold all together."""

    paths: tuple[str, ...]
    """Their places in the container."""
    size_bytes: int
    inodes: int = 0


def parse_size(text: str, what: str) -> int:
    """Bytes of ``10g``, ``1.5GB``, ``100``. Raises InvalidParameter, also for nothing at all."""
    found = _SIZE.fullmatch(text.strip())
    size = float(found[1]) * (1 << _SHIFTS[(found[2] or "b")[0].lower()]) if found else 0
    if size < 1:
        raise InvalidParameter(
            f"invalid size {text!r} for {what}", resolution="use e.g. 10g or 512m, more than 0"
        )
    return int(size)


def parse_flags(texts: Iterable[str]) -> tuple[dict[str, str], str]:
    """Parse ``[PLACES=]SIZE`` of each ``--disk-quota`` to the configuration's two fields.

    A size alone is one budget for everything, hence the quota id that comes with it.
    """
    quota, quota_id = {}, ""
    for text in texts:
        *places, size = text.split("=")
        if len(places) > 1 or not size or "" in places:
            raise InvalidParameter(
                f"invalid --disk-quota {text!r}", resolution="use SIZE, or PLACE=SIZE"
            )
        if not places:
            quota_id = str(ALLOCATE)
        quota[places[0] if places else EVERYTHING] = size
    return quota, quota_id


def check(host: HostConfig) -> None:
    """Raise InvalidParameter or Unsupported for quotas that nobody can keep."""
    quota, options = host.get("DiskQuota") or {}, host.get("StorageOpt") or {}
    _check_storage_options(options)
    for key, size in quota.items():
        parse_size(size, f"--disk-quota {key}")
        _parts(key)
    number = quota_id(host)
    if number and len(quota) != 1 and not options:
        raise InvalidParameter(
            f"--quota-id {number} needs one --disk-quota", resolution="give exactly one"
        )
    if quota and options:
        raise InvalidParameter(
            "--disk-quota and --storage-opt exclude each other", resolution="leave one of them out"
        )


def _check_storage_options(options: Mapping[str, str]) -> None:
    for key, value in options.items():
        if key not in _STORAGE_KEYS:
            raise Unsupported(
                f"--storage-opt {key}: unknown option",
                resolution=f"the options are {', '.join(_STORAGE_KEYS)}",
            )
        if key == "size":
            parse_size(value, "--storage-opt size")
        elif not (value.isascii() and value.isdigit() and int(value)):
            raise InvalidParameter(f"invalid --storage-opt inodes={value}: not a number above 0")


def quota_id(host: HostConfig) -> int:
    """The project id that was asked for, ALLOCATE for any, 0 for none of one's own choice."""
    text = host.get("QuotaId") or "0"
    try:
        number = int(text)
    except ValueError:
        number = LAST_ID + 1
    if number > LAST_ID:
        raise InvalidParameter(
            f"invalid --quota-id {text!r}", resolution="use a number, or -1 for any that is free"
        )
    return max(number, ALLOCATE)


def _parts(key: str) -> tuple[str, ...]:
    parts = tuple(key.split("&"))
    for part in parts:
        if len(parts) > 1 and not part.startswith("/"):
            raise InvalidParameter(
                f"invalid --disk-quota {key}: {part!r} is not absolute",
                resolution="places with one budget are joined as in /&/data",
            )
        try:
            re.compile(part)
        except re.error as error:
            raise InvalidParameter(
                f"invalid --disk-quota {key}: {part!r} is no pattern: {error}"
            ) from None
    return parts


def budgets(host: HostConfig, places: Sequence[str]) -> list[Budget]:
    """The budgets of a container whose root is ``/`` and whose volumes are at ``places``.

    A pattern must match the whole of a place; one that is named outright is for no pattern. Raises
    InvalidParameter for a name that is no place of the container's.
    """
    options = host.get("StorageOpt") or {}
    if options:
        size = options.get("size")
        size_bytes = parse_size(size, "--storage-opt size") if size else 0
        return [Budget((ROOT,), size_bytes, int(options.get("inodes", 0)))]
    quota = host.get("DiskQuota") or {}
    everywhere = [ROOT, *places]
    named = {part for key in quota for part in _parts(key) if part in everywhere}
    left = [place for place in everywhere if place not in named]
    found = []
    for key, size in quota.items():
        size_bytes = parse_size(size, f"--disk-quota {key}")
        mine = _matches(key, everywhere, left)
        left = [place for place in left if place not in mine]
        if len(_parts(key)) > 1 or quota_id(host):
            found.append(Budget(tuple(mine), size_bytes))
        else:
            found += [Budget((place,), size_bytes) for place in mine]
    return [budget for budget in found if budget.paths]


def _matches(key: str, everywhere: Sequence[str], left: Sequence[str]) -> list[str]:
    found = []
    for part in _parts(key):
        if part in everywhere:
            found.append(part)
            continue
        matched = [place for place in left if re.fullmatch(part, place)]
        if not matched and part == re.escape(part):
            raise InvalidParameter(
                f"--disk-quota {key}: no volume of the container is at {part}",
                resolution="a bind is the host's, and not limited; / is the container's own files",
            )
        found += matched
    return list(dict.fromkeys(found))
