"""Which capabilities a container gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.linux.kernel import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Docker's documented set (run reference, "Runtime privilege and Linux capabilities").
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)
_KNOWN = frozenset(CAPABILITIES)
_ALL = "ALL"


def normalise(names: Iterable[str]) -> list[str]:
    """Upper-case names with ``CAP_``; ``ALL`` stays. Raises InvalidParameter for unknown ones."""
    found = []
    for given in names:
        name = given.strip().upper()
        if name not in (_ALL, "CAP_ALL"):
            name = name if name.startswith("CAP_") else f"CAP_{name}"
            if name not in _KNOWN:
                raise InvalidParameter(
                    f"unknown capability {given!r}", resolution="see capabilities(7)"
                )
            found.append(name)
        else:
            found.append(_ALL)
    return found


def resolve(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool, bounding: Sequence[str]
) -> tuple[str, ...]:
    """The container's capabilities in the kernel's order.

    ``bounding`` is what this host can give at all: privileged and ``ALL`` mean all of that, the
    default set what of it is there; one that is asked for by name and not there is an error.
    As in Docker ``add ALL`` beats ``drop ALL``, and a name that is both added and dropped is
    added. Unlike there, ``--cap-drop`` also counts for a privileged container.
    """
    added, dropped = normalise(add), frozenset(normalise(drop))
    available = frozenset(bounding)
    if privileged or _ALL in added:
        chosen = available - dropped
    elif _ALL in dropped:
        chosen = _named(added, available)
    else:
        chosen = (available.intersection(DEFAULT) - dropped) | _named(added, available)
    if privileged and _ALL in dropped:
        chosen = _named(added, available)
    return tuple(name for name in CAPABILITIES if name in chosen)


def _named(added: list[str], available: frozenset[str]) -> frozenset[str]:
    named = frozenset(added) - {_ALL}
    missing = sorted(named - available)
    if missing:
        raise InvalidParameter(
            f"cannot add {', '.join(missing)}: this host does not have it",
            resolution="it is not in the engine's bounding set; leave out the --cap-add",
        )
    return named
