"""A filesystem's project quota in a dictionary: this machine's filesystems have none."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runengine.linux.quota import Account

if TYPE_CHECKING:
    import pytest


class FakeQuota:
    """Projects of files by inode, limits by project."""

    def __init__(self) -> None:
        self.projects: dict[int, int] = {}
        self.limits: dict[int, tuple[int, int]] = {}
        self.missing = 0
        """The error of a filesystem without quota, if it is one."""

    def install(self, monkeypatch: pytest.MonkeyPatch, locks: str) -> None:
        """Stand in for the kernel's."""
        for name in ("project_of", "set_project", "set_limits", "account", "first_used"):
            monkeypatch.setattr(f"runengine.linux.quota.{name}", getattr(self, name))
        monkeypatch.setattr("runengine.rootfs.quota.LOCKS", locks)

    def project_of(self, fd: int) -> int:
        self._need()
        return self.projects.get(os.fstat(fd).st_ino, 0)

    def set_project(self, fd: int, project: int, *, directory: bool) -> None:
        self._need()
        assert directory == os.path.isdir(f"/proc/self/fd/{fd}")
        self.projects[os.fstat(fd).st_ino] = project

    def set_limits(self, _fd: int, project: int, limit_bytes: int, limit_inodes: int) -> None:
        self._need()
        self.limits[project] = (limit_bytes, limit_inodes)

    def account(self, _fd: int, project: int) -> Account:
        self._need()
        return Account(*self.limits.get(project, (0, 0)), 0, 0)

    def first_used(self, _fd: int, start: int) -> int | None:
        used = {one for one, limits in self.limits.items() if any(limits)}
        used |= set(self.projects.values())
        return min((one for one in used if one >= start), default=None)

    def of(self, path: str | os.PathLike[str]) -> int:
        """The project of a file."""
        return self.projects.get(os.stat(path).st_ino, 0)

    def _need(self) -> None:
        if self.missing:
            raise OSError(self.missing, errno.errorcode[self.missing])
