"""Environment variables: merging and the defaults every process gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge_env(base: Iterable[str], user: Iterable[str]) -> list[str]:
    """``user`` over ``base``: ``K=V`` sets, ``K=`` sets empty, a bare ``K`` removes ``K``.

    Order is that of first appearance. Values are kept byte for byte. A line of the base that is
    no assignment (an image may hold any) is dropped; raises InvalidParameter for such a one of
    the user's, and for a NUL, which no environment can hold.
    """
    merged: dict[str, str] = {}
    for item in base:
        name, equals, value = item.partition("=")
        if name and equals and "\0" not in item:
            merged[name] = value
    for item in user:
        name, equals, value = item.partition("=")
        if not name or "\0" in item:
            raise InvalidParameter(
                f"invalid environment variable: {item!r}", resolution="use NAME=VALUE"
            )
        if equals:
            merged[name] = value
        else:
            merged.pop(name, None)
    return [f"{name}={value}" for name, value in merged.items()]


def with_defaults(env: Iterable[str], *, hostname: str, home: str, tty: bool) -> list[str]:
    """``env`` with PATH, HOSTNAME, HOME and, on a terminal, TERM where they are missing."""
    variables = list(env)
    names = {item.partition("=")[0] for item in variables}
    defaults = [("PATH", DEFAULT_PATH), ("HOSTNAME", hostname)]
    if tty:
        defaults.append(("TERM", "xterm"))
    defaults.append(("HOME", home))
    # First, so that a program that reads only the first of two equal names sees the user's.
    return [f"{name}={value}" for name, value in defaults if name not in names] + variables
