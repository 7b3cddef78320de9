"""``cp`` between the host and its containers, and between two of them, without a tar."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, InvalidParameter
from runengine.mgr.container import copy_rules, view
from runengine.mgr.container.copy_rules import Side
from runengine.rootfs.places import Places
from runengine.rootfs.transfer import Options, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.container.context import Context
    from runengine.mgr.container.view import View
    from runengine.rootfs.copytree import Owners


class Place(NamedTuple):
    """One end of a copy: a path on the host, or in a container (id, name or id prefix)."""

    path: str
    container: str = ""


class Copied(NamedTuple):
    """What a copy came to. Sockets are left out, as they are of no use elsewhere."""

    files: int
    bytes: int
    sockets: int


def copy(
    context: Context,
    source: Place,
    target: Place,
    *,
    follow: bool = False,
    keep_owner: bool = False,
) -> Copied:
    """Copy a file or a tree; ``follow``: what the source leads to if it is a link.

    What comes into a container keeps the numbers of its owners, or with ``keep_owner`` belongs to
    the user that the container runs as, if it has one; what goes out belongs to the caller,
    unless ``keep_owner``. Raises NotFound, InvalidParameter, Conflict, EngineError.
    """
    _check(source, target)
    with ExitStack() as stack:
        # The one that is written to first: its lock may have to be waited for.
        onto = _open(context, target, stack, write=True)
        from_view = _open(context, source, stack, write=False)
        transfer = Transfer(
            Options(
                owner=_owner(onto, from_view, keep=keep_owner),
                owners=_owners(onto, from_view),
                hidden=from_view.hidden if from_view else frozenset(),
                check=_checks(onto, from_view),
                trusted=from_view is None,
            )
        )
        _run(transfer, (source, from_view), (target, onto), stack, follow=follow)
        _note(context, onto, from_view, source, target)
    return Copied(transfer.files, transfer.bytes, transfer.sockets)


def _check(source: Place, target: Place) -> None:
    for place in (source, target):
        if not place.path:
            raise InvalidParameter("bad parameter: path cannot be empty")


def _open(context: Context, place: Place, stack: ExitStack, *, write: bool) -> View | None:
    if not place.container:
        return None
    return stack.enter_context(view.opened(context, place.container, write=write))


def _side(opened: View | None, stack: ExitStack) -> Side:
    if opened is None:
        places = Places()
        stack.callback(places.close)
        return Side(places)
    return Side(opened.places, opened.record.name)


def _run(
    transfer: Transfer,
    source: tuple[Place, View | None],
    target: tuple[Place, View | None],
    stack: ExitStack,
    *,
    follow: bool,
) -> None:
    """Find both ends and copy."""
    ours, theirs = _side(source[1], stack), _side(target[1], stack)
    path, onto = source[0].path, target[0].path
    found = copy_rules.find_source(ours, path, follow=follow)
    there = copy_rules.find_target(theirs, onto)
    place = copy_rules.decide(found, path, theirs, there, onto)
    if target[1] is not None:
        copy_rules.check_writable(theirs, target[1], there)
    try:
        transfer.copy(found, place.dir_fd, place.base)
    except OSError as error:
        raise failure(error, f"{ours.describe(path)} to {theirs.describe(onto)}") from error


def failure(error: OSError, what: str) -> EngineError:
    """The kernel's refusal, with the file that it was about."""
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or os.strerror(error.errno or errno.EIO)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return EngineError(
        f"cannot copy {what}",
        details=f"{where}{reason}",
        resolution="make room and copy again" if full else None,
    )


def _owner(
    onto: View | None, source: View | None, *, keep: bool
) -> tuple[int, int] | None:
    """Whose the copies are; None: as they were."""
    if onto is not None:
        user = user_of(onto) if keep and source is None else None
        return onto.owners_outside(*user) if user else None
    return None if keep else (os.geteuid(), os.getegid())


def _owners(onto: View | None, source: View | None) -> Owners:
    """Owners as the source shows them to those that the target must be given."""

    def across(uid: int, gid: int) -> tuple[int, int]:
        inside = source.owners_inside(uid, gid) if source else (uid, gid)
        return onto.owners_outside(*inside) if onto else inside

    return across


def user_of(opened: View) -> tuple[int, int] | None:
    """The user and group that the container runs as, looked up in it; None if it names none."""
    from runengine.mgr.container.facts import find_user

    wanted = opened.record.config["User"]
    if not wanted:
        return None
    user = find_user(f"/proc/self/fd/{opened.root_fd}", wanted, [])
    return user.uid, user.gid


def _checks(*views: View | None) -> Callable[[], None] | None:
    opened = [each for each in views if each is not None]

    def check() -> None:
        for each in opened:
            each.check()

    return check


def _note(
    context: Context, onto: View | None, source: View | None, from_: Place, to: Place
) -> None:
    if source is not None:
        context.events.container("archive-path", source.record, path=from_.path)
    if onto is not None:
        context.events.container("extract-to-dir", onto.record, path=to.path)
