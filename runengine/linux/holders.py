"""Who keeps a mount busy: processes with something open below it, or with a copy of it.

Only asked when a mount does not go, so that an operator can be told whom to end.
"""

from __future__ import annotations

import os
from typing import NamedTuple

_LINKS = {"cwd": "working directory", "root": "root directory", "exe": "program"}
_SHOWN = 5


class Holder(NamedTuple):
    """A process that holds a mount, and by what."""

    pid: int
    name: str
    by: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}: {self.by})"


def find(target: str) -> list[Holder]:
    """Every process that has its directory, program, memory or a file at or below ``target``,

    or that is in another mount namespace which has ``target``, too.
    """
    found = []
    ours = _namespace("self")
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        by = _held_by(pid, target, ours)
        if by:
            found.append(Holder(int(pid), _name(pid), by))
    return found


def openers(path: str) -> list[Holder]:
    """Every process that has this very file open."""
    found = []
    for pid in os.listdir("/proc"):
        by = _open_file(pid, path) if pid.isdigit() else ""
        if by:
            found.append(Holder(int(pid), _name(pid), by))
    return found


def describe(target: str) -> str:
    """The same in words, for an error's details; who it is where it can be seen."""
    found = find(target)
    if not found:
        return "no process shows that it holds it"
    rest = len(found) - _SHOWN
    names = ", ".join(map(str, found[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")
    return f"held by {names}"


def _held_by(pid: str, target: str, ours: str) -> str:
    for link, what in _LINKS.items():
        if _leads_below(f"/proc/{pid}/{link}", target):
            return what
    return _open_file(pid, target) or _mapped(pid, target) or _copied(pid, target, ours)


def _leads_below(link: str, target: str) -> bool:
    try:
        name = os.readlink(link)
    except OSError:
        return False
    return name == target or name.startswith(f"{target}/")


def _open_file(pid: str, target: str) -> str:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return ""
    for number in numbers:
        if _leads_below(f"/proc/{pid}/fd/{number}", target):
            return f"open file {number}"
    return ""


def _mapped(pid: str, target: str) -> str:
    return "mapped file" if _has(f"/proc/{pid}/maps", f" {target}/") else ""


def _copied(pid: str, target: str, ours: str) -> str:
    """Another namespace got a copy of the mount when it was made (mount_namespaces(7))."""
    if _namespace(pid) in (ours, ""):
        return ""
    return "mount namespace" if _has(f"/proc/{pid}/mountinfo", f" {target} ") else ""


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def _has(path: str, text: str) -> bool:
    try:
        with open(path, "rb") as file:
            return os.fsencode(text) in file.read()
    except OSError:
        return False


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
