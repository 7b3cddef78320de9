"""CRIU, by which the OCI runtimes write processes down and start them again: what its logs tell.

The runtimes run it themselves (runc-checkpoint(8)) and of its errors say only where the log is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runengine.errors import EngineError, RuntimeFailed, Unavailable
from runengine.runtime import runc

if TYPE_CHECKING:
    from collections.abc import Iterator

DUMP_LOG, RESTORE_LOG = "dump.log", "restore.log"
DUMP_STATS, RESTORE_STATS = "stats-dump", "stats-restore"
"""Written last of all, and only after a success (criu(8))."""
_ERROR = re.compile(r"^\([\d.]+\)\s+(?:\d+: )?Error \([^)]*\): (.*)$", re.MULTILINE)
_SHOWN = 3
"""Of its errors the first ones say why, those that follow only that it gives up."""
_QUIET = ("rlimit: Can't setup RLIMIT_NOFILE",)
"""What CRIU calls an error and gets over."""

# Words in the log, and what to do about it.
_REMEDIES = (
    ("Connected TCP socket", "use --tcp-established to keep the connections"),
    ("Connected TCP not supported", "use --tcp-established to keep the connections"),
    ("Some file locks are hold", "use --file-locks to keep the locks"),
    ("Can't get rlimit", "criu needs CAP_SYS_RESOURCE for processes of other users"),
    ("has bad size", "the file has changed since: restore from a newer checkpoint"),
    ("unexpected process", "end what runs in it besides its own processes, such as an exec"),
    ("isn't in the dumped tree", "end what runs in it besides its own processes, such as an exec"),
    ("Can't fork for", "a process id of the checkpoint's is in use on this host: --pid host"),
    ("Unable to find an external netns", "restore into a container that is on a network as well"),
)


def settings() -> bytes:
    """What CRIU has to be told on this host.

    It holds a container's network still by iptables unless it is told otherwise (criu >= 3.17).
    A restore goes by what the dump has noted.
    """
    return b"" if _has("iptables-restore") else b"network-lock nftables\n"


def _has(program: str) -> bool:
    try:
        runc.find(program)
    except Unavailable:
        return False
    return True


def require() -> None:
    """Raise Unavailable, naming the package, unless CRIU is where the runtimes look for it."""
    try:
        runc.find("criu")
    except Unavailable as error:
        raise Unavailable(
            "checkpoints need criu, which is not here",
            details=error.details,
            resolution="apt-get install criu",
        ) from None


# Fields of the two messages in its statistics (criu's images/stats.proto), times in microseconds.
_COUNTED = {
    1: ("freezing_time", "frozen_time", "memdump_time", "memwrite_time", "pages_scanned",
        "pages_skipped_parent", "pages_written"),
    2: ("pages_compared", "pages_skipped_cow", "forking_time", "restore_time", "pages_restored"),
}  # fmt: skip
_HEAD_BYTES = 12
"""Of an image with one message: two magic numbers and its length."""
_NUMBER, _MESSAGE = 0, 2
"""Kinds of fields in a protocol buffer."""


def statistics(image: bytes) -> dict[str, int]:
    """What CRIU has counted, from its file; empty if that is damaged or not there."""
    try:
        for number, message in _fields(image[_HEAD_BYTES:]):
            if number in _COUNTED and isinstance(message, bytes):
                names = dict(enumerate(_COUNTED[number], 1))
                inside = ((names.get(key), value) for key, value in _fields(message))
                return {key: int(value) for key, value in inside if key}
    except (IndexError, ValueError):
        return {}
    return {}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values in a protocol buffer that has numbers and messages only."""
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        value, place = _number(message, place)
        if key & 7 == _MESSAGE:
            yield key >> 3, message[place : place + value]
            place += value
        elif key & 7 == _NUMBER:
            yield key >> 3, value
        else:
            raise ValueError(f"a field of type {key & 7}")


def _number(message: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def explained(error: EngineError, log: bytes) -> EngineError:
    """The runtime's error with what CRIU's log says of the cause, if it says anything."""
    text = log.decode(errors="replace")
    told = [line for line in _ERROR.findall(text) if not line.startswith(_QUIET)]
    if not told or not isinstance(error, RuntimeFailed):
        return error
    remedy = next((what for words, what in _REMEDIES if words in text), None)
    return RuntimeFailed(
        f"criu: {told[0].strip()}",
        details="; ".join(line.strip() for line in told[1:_SHOWN]) or None,
        resolution=remedy,
    )
