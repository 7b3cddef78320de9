"""Who runs: ``--user`` and ``--group-add`` against the container's passwd and group files.

Lines that are odd (no uid, a uid in hexadecimal, negative, too large) count as not there: they
must never turn into root. Sources: passwd(5), group(5), image-spec config.md (User).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# (uid_t)-1 means "leave as it is" to chown(2) and setuid(2).
ID_LIMIT = (1 << 32) - 1


class User(NamedTuple):
    """The identity of a process in the container."""

    uid: int
    gid: int
    additional_gids: tuple[int, ...] = ()
    """Supplementary groups; the primary one is among them."""
    home: str = "/"
    """Home directory from the passwd file; ``/`` if it has none."""
    name: str = ""
    """Login name; empty for a uid without a line in the passwd file."""


class _Passwd(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def parse_id(text: str) -> int | None:
    """A decimal uid or gid, or None for anything else."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    number = int(text)
    return number if number < ID_LIMIT else None


def _passwd_lines(text: str) -> Iterator[_Passwd]:
    for line in text.split("\n"):
        fields = line.rstrip("\r").split(":")
        if len(fields) < 4 or not fields[0] or fields[0].startswith("#"):
            continue
        uid, gid = parse_id(fields[2]), parse_id(fields[3])
        if uid is None or gid is None:
            continue
        yield _Passwd(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")


def _group_lines(text: str) -> Iterator[_Group]:
    for line in text.split("\n"):
        fields = line.rstrip("\r").split(":")
        if len(fields) < 3 or not fields[0] or fields[0].startswith("#"):
            continue
        gid = parse_id(fields[2])
        if gid is None:
            continue
        members = fields[3].split(",") if len(fields) > 3 else []
        yield _Group(fields[0], gid, tuple(name.strip() for name in members if name.strip()))


def resolve_user(
    user: str, passwd: str | None, group: str | None, group_add: Sequence[str] = ()
) -> User:
    """Resolve ``name|uid[:group|gid]`` against the text of the container's files.

    ``passwd`` and ``group`` are None where the container has no such file. Raises
    InvalidParameter for a name that is not there and a number out of range.
    """
    name, _, group_part = user.partition(":")
    groups = list(_group_lines(group or ""))
    entry, uid = _find_user(name or "0", passwd or "", user)
    gid = entry.gid if entry else 0
    if group_part:
        gid = _find_gid(group_part, groups, "group")
    login = entry.name if entry else ""
    # An explicit group replaces the memberships, as newgrp and Docker have it.
    member_of = () if group_part or not login else _memberships(login, groups)
    added = (_find_gid(text, groups, "group to add") for text in group_add)
    additional = dict.fromkeys((gid, *member_of, *added))
    return User(uid, gid, tuple(additional), (entry.home if entry else "") or "/", login)


def _memberships(login: str, groups: list[_Group]) -> tuple[int, ...]:
    return tuple(group.gid for group in groups if login in group.members)


def _find_user(name: str, passwd: str, user: str) -> tuple[_Passwd | None, int]:
    number = parse_id(name)
    by_uid: _Passwd | None = None
    for entry in _passwd_lines(passwd):
        if entry.name == name:
            return entry, entry.uid
        if entry.uid == number and by_uid is None:
            by_uid = entry
    if number is None:
        hint = "out of range" if name.lstrip("-").isdigit() else "not in its passwd file"
        raise InvalidParameter(
            f"unable to find user {name} in the container: {hint}",
            resolution=f"use a name of the image's /etc/passwd or a number instead of {user!r}",
        )
    return by_uid, number


def _find_gid(name: str, groups: list[_Group], what: str) -> int:
    for group in groups:
        if group.name == name:
            return group.gid
    number = parse_id(name)
    if number is None:
        raise InvalidParameter(
            f"unable to find {what} {name} in the container: not in its group file",
            resolution="use a name of the image's /etc/group or a number",
        )
    return number
