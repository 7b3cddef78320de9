"""Dying at a chosen call: from then on the process changes nothing on disk, and holds no lock."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

CALLS = ("unlink", "rename", "rmdir", "mkdir", "link", "symlink", "write", "truncate", "ftruncate")


class Killed(BaseException):
    """What stands for SIGKILL: nobody's ``except Exception`` stops it."""


def survives(
    monkeypatch: pytest.MonkeyPatch, calls: int, action: Callable[[], object]
) -> bool:
    """Do ``action``, dying at the change of the disk after so many; False if it came to that.

    Code that runs while the stack unwinds cannot change anything any more, and descriptors that
    it leaves open are closed, as the kernel does.
    """
    left = calls

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left <= 0:
                raise Killed
            left -= 1
            return call(*args, **options)

        return counting

    before = _descriptors()
    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            action()
        except Killed:
            for fd in _descriptors() - before:
                os.close(fd)
            return False
    return True


def _descriptors() -> set[int]:
    """What is open; the one that lists them is closed by then."""
    names = os.listdir("/proc/self/fd")
    return {int(name) for name in names if os.path.lexists(f"/proc/self/fd/{name}")}
