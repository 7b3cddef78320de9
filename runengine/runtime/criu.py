"""CRIU, by which the OCI runtimes write processes down and start them again: what its logs tell.

The runtimes run it themselves (runc-checkpoint(8)) and of its errors say only where the log is.
"""

from __future__ import annotations

import re

from runengine.errors import EngineError, RuntimeFailed, Unavailable
from runengine.runtime import runc

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
    ("has bad size", "the file has changed since: restore from a newer checkpoint"),
    ("unexpected process", "end what runs in it besides its own processes, such as an exec"),
    ("isn't in the dumped tree", "end what runs in it besides its own processes, such as an exec"),
    ("A process is dumped that shares", "share no namespaces with other containers"),
)


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
