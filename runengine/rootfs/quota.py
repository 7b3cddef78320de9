"""Limiting what directories may hold, by project quotas of the filesystem that they are on.

The filesystem is the record: a directory knows its project, the project its limits and use.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from runengine.errors import EngineError, InvalidParameter, Unsupported
from runengine.linux import quota
from runengine.linux.locks import locked
from runengine.rootfs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_ID = 1 << 24
"""Project ids below are left to the host's own use (/etc/projects)."""
LOCKS = "/run"
"""Root's alone, unlike /run/lock."""
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_QUOTA = frozenset(
    (errno.ESRCH, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV)
)


class Limits(NamedTuple):
    """What is allowed; 0 is no limit."""

    size_bytes: int = 0
    inodes: int = 0


@contextmanager
def reserving(path: str) -> Iterator[None]:
    """Let nobody else choose a project on the filesystem of ``path``, engines apart included."""
    device = os.stat(path).st_dev
    with locked(f"{LOCKS}/runengine-quota-{os.major(device)}-{os.minor(device)}.lock"):
        yield


def free_project(path: str) -> int:
    """A project id that the filesystem of ``path`` knows nothing of.

    Until it has limits it is anybody's, hence ``reserving``. Raises Unsupported.
    """
    with _opened(path) as fd, _explained(path):
        quota.account(fd, 0)
        candidate = FIRST_ID
        while (used := quota.first_used(fd, candidate)) == candidate:
            candidate = used + 1
    return candidate


def set_limits(path: str, project: int, limits: Limits) -> None:
    """Limit a project on the filesystem of ``path``, at once for whoever writes.

    Raises Unsupported if that has no project quota, InvalidParameter for more than it can hold.
    """
    with _opened(path) as fd:
        _check_size(fd, path, limits)
        with _explained(path):
            quota.set_limits(fd, project, limits.size_bytes, limits.inodes)


def _check_size(fd: int, path: str, limits: Limits) -> None:
    whole = os.fstatvfs(fd)
    size_bytes = whole.f_blocks * whole.f_frsize
    if limits.size_bytes > size_bytes:
        raise InvalidParameter(
            f"a limit of {limits.size_bytes} bytes is more than the filesystem of {path} has:"
            f" {size_bytes}",
            resolution="ask for less",
        )


def assign(path: str, project: int) -> None:
    """Make a directory and everything in it a project's; 0 makes it nobody's.

    Symbolic links, devices and the like are passed over: they hold no data. Raises Unsupported.
    """

    def file(fd: int, entry: os.DirEntry[str]) -> None:
        if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            _assign_one(entry.name, project, fd)

    with _explained(path):
        # The directory first: what comes into it from now on is the project's already.
        _assign_one(path, project, None)
        for visit in walk(path, file):
            quota.set_project(visit.fd, project, directory=True)


def _assign_one(name: str, project: int, dir_fd: int | None) -> None:
    try:
        fd = os.open(name, _OPEN, dir_fd=dir_fd)
    except FileNotFoundError:
        return  # it went meanwhile
    try:
        quota.set_project(fd, project, directory=stat.S_ISDIR(os.fstat(fd).st_mode))
    finally:
        os.close(fd)


def limit_directory(path: str, limits: Limits, project: int | None = None) -> int:
    """Limit what ``path`` may hold all in all; returns the project id that it has then.

    Without ``project`` it keeps its own or gets a new one. Raises Unsupported, InvalidParameter.
    """
    with reserving(path):
        chosen = project or project_of(path) or free_project(path)
        set_limits(path, chosen, limits)
        assign(path, chosen)
    return chosen


def project_of(path: str) -> int:
    """The project of a directory, 0 if it is nobody's; also where there are no projects."""
    with _opened(path) as fd:
        try:
            return quota.project_of(fd)
        except OSError as error:
            if error.errno in _NO_QUOTA:
                return 0
            raise


def account(path: str, project: int) -> quota.Account:
    """Limits and use of a project on the filesystem of ``path``. Raises Unsupported."""
    with _opened(path) as fd, _explained(path):
        return quota.account(fd, project)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, _OPEN | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _explain(error, path)


def _explain(error: OSError, path: str) -> NoReturn:
    if error.errno in _NO_QUOTA:
        raise Unsupported(
            f"cannot limit the size of {path}: its filesystem has no project quota",
            details=error.strerror,
            resolution="ext4: tune2fs -O project,quota DEVICE while it is not mounted, then mount"
            " it with prjquota; xfs: mount it with prjquota",
        ) from error
    raise EngineError(f"cannot limit the size of {path}", details=error.strerror) from error


