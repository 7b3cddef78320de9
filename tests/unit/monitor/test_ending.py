"""What the monitor clears away after a runtime that was killed."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from runengine.linux import libc
from runengine.monitor import ending

JOB: Any = {"runtime": ["/sbin/runc", "--root", "/r", "--systemd-cgroup"], "id": "c"}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOENT])
def test_mostly_a_restore_leaves_no_mount(monkeypatch, number):
    asked = []

    def umount(target: str, _flags: int) -> None:
        asked.append(target)
        raise OSError(number, "no")

    monkeypatch.setattr(libc, "umount", umount)
    ending._unmount_restored(JOB)
    assert asked == ["/r/c/criu-root"]


def test_one_that_stays_is_told(monkeypatch):
    def umount(_target: str, _flags: int) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(libc, "umount", umount)
    with pytest.raises(OSError, match="no"):
        ending._unmount_restored(JOB)
