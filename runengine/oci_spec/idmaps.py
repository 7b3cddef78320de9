"""Which ids of the host those in a user namespace are, and the flags that say so.

Sources: user_namespaces(7) on what the kernel takes; podman-run(1) on ``--userns``, ``--uidmap``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.model import HostConfig

HOST = "host"
AUTO = "auto"
PRIVATE = "private"
CONTAINER = "container"
DEFAULT_SIZE = 65536
LAST_ID = (1 << 32) - 3
"""Above it are what stands for "leave it as it is" (-1) and SPARE_ID."""
SPARE_ID = LAST_ID + 1
"""On the disk, the owner of what overlayfs makes for itself: no file of an image or container."""
NOBODY = 65534
"""Whom the kernel shows for an id that is not mapped."""
MAX_RANGES = 340
"""Lines that the kernel takes in a map."""
# What other engines know beside these.
_ELSEWHERE = frozenset({"keep-id", "map", "nomap", "ns"})


class Range(NamedTuple):
    """One line of a map: ``length`` ids from ``inside`` on are the host's from ``outside`` on."""

    inside: int
    outside: int
    length: int


Ranges = tuple[Range, ...]


class IdMaps(NamedTuple):
    """A user namespace's two maps."""

    uids: Ranges
    gids: Ranges

    @property
    def root(self) -> tuple[int, int]:
        """The uid and gid on the host of root inside; both are always mapped."""
        return outside(self.uids, 0) or 0, outside(self.gids, 0) or 0


class Mode(NamedTuple):
    """``UsernsMode``, parsed."""

    kind: str
    """``host``, ``auto``, ``private`` (with maps of the user's) or ``container``."""
    size: int = DEFAULT_SIZE
    uids: Ranges = ()
    """What is given of an automatic map."""
    gids: Ranges = ()
    container: str = ""
    """Name or id of the container whose namespace is joined."""


def parse_mode(text: str) -> Mode:
    """The mode of ``--userns``; empty is the host's. Raises InvalidParameter, Unsupported."""
    kind, colon, options = text.partition(":")
    if kind in ("", HOST, PRIVATE) and not colon:
        return Mode(kind or HOST)
    if kind == AUTO:
        return _auto(options, text) if colon else Mode(AUTO)
    if kind == CONTAINER and options:
        return Mode(CONTAINER, container=options)
    if kind in _ELSEWHERE:
        raise Unsupported(
            f"--userns {text}: not a mode of this engine",
            resolution="use auto or host, or --uidmap and --gidmap",
        )
    raise InvalidParameter(
        f"invalid --userns {text!r}", resolution="use auto, auto:size=N, container:NAME or host"
    )


def _auto(options: str, text: str) -> Mode:
    """``size=N``, and ``uidmapping=`` and ``gidmapping=`` with a range, in any number."""
    size, given = DEFAULT_SIZE, {"uidmapping": list[Range](), "gidmapping": list[Range]()}
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key in given:
            given[key].append(parse_range(value, f"--userns auto:{key}"))
        else:
            size = _size(key, value, text)
    uids, gids = (_apart(ranges, f"--userns auto:{key}") for key, ranges in given.items())
    return Mode(AUTO, size, uids, gids)


def _size(key: str, value: str, text: str) -> int:
    if key != "size" or not (value.isascii() and value.isdigit()):
        raise InvalidParameter(
            f"invalid --userns {text!r}",
            resolution="use auto:size=N,uidmapping=CONTAINER_ID:HOST_ID:COUNT,gidmapping=...",
        )
    size = int(value)
    if not 0 < size <= LAST_ID:
        raise InvalidParameter(f"invalid --userns {text!r}: no map has {size} ids")
    return size


def parse_range(text: str, flag: str = "--uidmap") -> Range:
    """Parse ``INSIDE:OUTSIDE[:COUNT]``. Raises InvalidParameter."""
    words = text.split(":")
    if not 2 <= len(words) <= 3 or not all(w.isascii() and w.isdigit() for w in words):
        raise InvalidParameter(
            f"invalid {flag} {text!r}", resolution="use CONTAINER_ID:HOST_ID:COUNT, in numbers"
        )
    found = Range(*map(int, words)) if len(words) == 3 else Range(int(words[0]), int(words[1]), 1)
    if found.length < 1 or max(found.inside, found.outside) + found.length - 1 > LAST_ID:
        raise InvalidParameter(f"invalid {flag} {text!r}: ids are from 0 to {LAST_ID}")
    return found


def of_host(host: HostConfig) -> IdMaps | None:
    """The maps that the user gave; one of the two stands for both. Raises InvalidParameter."""
    given = host.get("IDMappings")
    uids, gids = (given["UidMap"], given["GidMap"]) if given else ([], [])
    if not uids and not gids:
        return None
    return IdMaps(_ranges(uids or gids, "--uidmap"), _ranges(gids or uids, "--gidmap"))


def _apart(ranges: Iterable[Range], flag: str) -> Ranges:
    """In order. Raises InvalidParameter if they are too many, or an id is in two of them."""
    found = tuple(sorted(ranges))
    if len(found) > MAX_RANGES:
        raise InvalidParameter(f"{flag}: the kernel takes {MAX_RANGES} ranges at most")
    for one in ([(r.inside, r.length) for r in found], [(r.outside, r.length) for r in found]):
        _refuse_overlap(sorted(one), flag)
    return found


def filled(given: Ranges, first: int, size: int) -> Ranges:
    """``size`` ids from 0 inside are the host's from ``first`` on, but for those given."""
    found, begin = list(given), 0
    for inside_id, end in [*((one.inside, one.inside + one.length) for one in given), (size, 0)]:
        length = min(inside_id, size) - begin
        if length > 0:
            found.append(Range(begin, first + begin, length))
        begin = max(begin, end)
    return _apart(found, "--userns auto")


def _ranges(texts: Iterable[str], flag: str) -> Ranges:
    found = _apart((parse_range(text, flag) for text in texts), flag)
    if outside(found, 0) is None:
        raise InvalidParameter(
            f"{flag}: root of the container is not mapped", resolution="add 0:HOST_ID:COUNT"
        )
    return found


def _refuse_overlap(spans: Sequence[tuple[int, int]], flag: str) -> None:
    for (first, length), (second, _) in itertools.pairwise(spans):
        if second < first + length:
            raise InvalidParameter(f"{flag}: id {second} is in two of the ranges")


def check(host: HostConfig) -> Mode:
    """The mode of a container, if it goes with the rest. Raises InvalidParameter, Unsupported.

    Root in a user namespace has no say in what belongs to the host's: its namespaces cannot be
    joined, and ``--privileged`` would not be what it says.
    """
    mode, maps = parse_mode(host["UsernsMode"]), of_host(host)
    if mode.kind == PRIVATE and maps is None:
        raise InvalidParameter(
            "--userns private: no map is given",
            resolution="add --uidmap and --gidmap, or use auto",
        )
    if mode.kind != PRIVATE and maps is not None:
        raise InvalidParameter(
            f"--uidmap and --gidmap exclude --userns {host['UsernsMode'] or HOST}",
            resolution="leave one of them out",
        )
    if mode.kind != HOST:
        _check_company(host, mode)
    return mode


# HostConfig key and flag of the namespaces that must be the container's own.
_COMPANY = (("NetworkMode", "--network"), ("PidMode", "--pid"), ("IpcMode", "--ipc"),
            ("UTSMode", "--uts"))  # fmt: skip


def _check_company(host: HostConfig, mode: Mode) -> None:
    """What else is joined must be of the container whose user namespace is, which owns it."""
    own = f"{CONTAINER}:{mode.container}"
    if host["Privileged"]:
        raise InvalidParameter(
            "privileged mode is incompatible with user namespaces",
            resolution="run it in the host's: --userns=host",
        )
    for key, flag in _COMPANY:
        value = str(host[key])  # type: ignore[literal-required]  # the four keys above
        if value == HOST or (value.partition(":")[0] in (CONTAINER, "netns") and value != own):
            raise InvalidParameter(
                f"{flag} {value} is incompatible with a user namespace: root of the one has no"
                " rights in the other",
                resolution=f"leave {flag} out, or use --userns=host",
            )
    for device in host["Devices"]:
        if device["PathInContainer"] not in ("", device["PathOnHost"]):
            raise InvalidParameter(
                f"--device {device['PathOnHost']}: another path inside is incompatible with a"
                " user namespace",
                resolution="leave the second path out, or use --userns=host",
            )


def outside(ranges: Iterable[Range], number: int) -> int | None:
    """The host's id for one inside; None if it is not mapped."""
    for one in ranges:
        if one.inside <= number < one.inside + one.length:
            return one.outside + number - one.inside
    return None


def last_after_root(ranges: Iterable[Range]) -> int:
    """The last id of the range that begins with root's."""
    return next(one.length - 1 for one in ranges if one.inside == 0)


def inside(ranges: Iterable[Range], number: int) -> int | None:
    """The id inside for one of the host's; None if it is not mapped."""
    return outside((Range(one.outside, one.inside, one.length) for one in ranges), number)


def text(ranges: Iterable[Range]) -> str:
    """As ``/proc/PID/uid_map`` takes it."""
    return "".join(f"{one.inside} {one.outside} {one.length}\n" for one in ranges)


def section(ranges: Iterable[Range]) -> list[dict[str, int]]:
    """``linux.uidMappings`` or ``gidMappings`` (config-linux.md#user-namespace-mappings)."""
    return [
        {"containerID": one.inside, "hostID": one.outside, "size": one.length} for one in ranges
    ]


def free_range(
    pool: tuple[int, int], size: int, taken: Iterable[tuple[int, int]]
) -> int | None:
    """Where ``size`` ids are free, counting from the pool's first; None if nowhere.

    ``pool`` and ``taken`` are pairs of first id and count.
    """
    first, count = pool
    start = first
    for begin, length in sorted(taken):
        if begin >= start + size:
            break
        start = max(start, begin + length)
    return start if start + size <= first + count else None
