"""``--ulimit``: parse, check, write (getrlimit(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runengine.model import Ulimit

NAMES = frozenset(
    (
        *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
        *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
UNLIMITED = -1
_INFINITY = (1 << 64) - 1


def parse(text: str) -> Ulimit:
    """Parse ``NAME=SOFT[:HARD]``; one value sets both, ``-1`` or ``unlimited`` lifts the limit.

    Raises InvalidParameter.
    """
    name, equals, values = text.partition("=")
    if not equals:
        raise InvalidParameter(f"invalid ulimit argument: {text}", resolution="NAME=SOFT[:HARD]")
    soft_text, colon, hard_text = values.partition(":")
    soft = _number(soft_text, text)
    limit: Ulimit = {
        "Name": name,
        "Soft": soft,
        "Hard": _number(hard_text, text) if colon else soft,
    }
    check(limit)
    return limit


def _number(value: str, text: str) -> int:
    if value in ("-1", "unlimited"):
        return UNLIMITED
    if not (value.isascii() and value.isdigit()) or int(value) > _INFINITY:
        raise InvalidParameter(f"invalid ulimit value {value!r} in {text!r}")
    return UNLIMITED if int(value) == _INFINITY else int(value)


def check(limit: Ulimit) -> None:
    """Raise InvalidParameter for an unknown name or a soft limit above the hard one."""
    name, soft, hard = limit["Name"], limit["Soft"], limit["Hard"]
    if name not in NAMES:
        raise InvalidParameter(
            f"invalid ulimit type: {name}", resolution=f"one of {' '.join(sorted(NAMES))}"
        )
    if min(soft, hard) < UNLIMITED or max(soft, hard) > _INFINITY:
        raise InvalidParameter(f"invalid ulimit value for {name}: {soft}:{hard}")
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        raise InvalidParameter(
            f"ulimit {name}: soft limit must be less than or equal to hard limit:"
            f" {_shown(soft)} > {hard}"
        )


def check_raise(
    limits: Iterable[Ulimit], hard_limits: Mapping[str, int], *, may_raise: bool
) -> None:
    """Raise InvalidParameter for a limit above this process's own that it cannot raise.

    ``hard_limits`` is ``linux.rlimits.hard_limits()``; ``may_raise`` with CAP_SYS_RESOURCE. The
    runtime would only say "operation not permitted".
    """
    for limit in limits:
        own = hard_limits.get(limit["Name"], UNLIMITED)
        if may_raise or own == UNLIMITED or 0 <= limit["Hard"] <= own:
            continue
        raise InvalidParameter(
            f"ulimit {limit['Name']}: {_shown(limit['Hard'])} is above the engine's own hard limit"
            f" {own}, which it cannot raise without CAP_SYS_RESOURCE",
            resolution=f"use at most {own}",
        )


def _shown(value: int) -> str:
    return "unlimited" if value == UNLIMITED else str(value)


def section(limits: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """``process.rlimits`` for name to (soft, hard)."""
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": _raw(soft), "hard": _raw(hard)}
        for name, (soft, hard) in sorted(limits.items())
    ]


def _raw(value: int) -> int:
    return _INFINITY if value == UNLIMITED else value
