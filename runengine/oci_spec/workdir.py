"""The working directory of a container and of an exec."""

from __future__ import annotations

from runengine.errors import InvalidParameter

_VIEWS = frozenset({"cwd", "fd", "map_files", "root"})
"""Entries of a process's directory in /proc that lead out of any root (proc(5))."""
_LINKS = frozenset({"fd", "stderr", "stdin", "stdout"})
"""Entries of /dev that lead to such."""


def check(path: str) -> None:
    """Raise InvalidParameter for what cannot be one; empty means the default."""
    if "\0" in path or (path and not path.startswith("/")):
        raise InvalidParameter(
            f"the working directory {path!r} is invalid, it needs to be an absolute path"
        )
    check_target(path)


def check_target(real: str, given: str = "") -> None:
    """Raise InvalidParameter for a directory that only some process's descriptor leads to.

    A runtime enters it while it may have descriptors of the host's (CVE-2024-21626). ``given`` is
    the name that led to ``real``.
    """
    if not _passes_a_view(real):
        return
    where = f"{given} leads to {real}" if given not in ("", real) else real
    raise InvalidParameter(
        f"the working directory {where}: that is what a process has open, not the image's",
        resolution="name a directory of the image",
    )


def _passes_a_view(path: str) -> bool:
    """Whether it is one or goes through one: what follows, ``..`` too, is then elsewhere."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
        if _is_a_view(parts):
            return True
    return False


def _is_a_view(parts: list[str]) -> bool:
    match parts:
        case ["dev", name]:
            return name in _LINKS
        case ["proc", _, "task", _, name] | ["proc", _, name]:
            return name in _VIEWS
    return False
