"""Mount namespaces that no process is in: they go with the descriptor that keeps them."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

from runengine.linux import libc, mount

if TYPE_CHECKING:
    from collections.abc import Callable

    Prepare = Callable[[], str]
    Furnish = Callable[[int], None]

_CLONE_NEWNS = 0x20000
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "loongarch64": 41}


class Detached:
    """A mount namespace of nobody. ``root_fd`` is its root; ``close`` unmounts all of it.

    The kernel does so, too, when the process that has it open dies.
    """

    def __init__(self, root_fd: int, namespace_fd: int) -> None:
        self.root_fd = root_fd
        self._namespace_fd = namespace_fd

    def close(self) -> None:
        """Let go of it; once is enough."""
        for fd in (self.root_fd, self._namespace_fd):
            if fd >= 0:
                os.close(fd)
        self.root_fd = self._namespace_fd = -1


def build(prepare: Prepare, furnish: Furnish) -> Detached:
    """Make a namespace by two steps, which run in a thread that alone is in it.

    ``prepare`` still sees the host's mounts, and mounts what becomes the root at the directory
    that it returns. ``furnish`` gets the root's descriptor when nothing else is left there.
    Raises what they raise, and OSError.
    """
    work = _Work(prepare, furnish)
    thread = threading.Thread(target=work.run, name="mounts")
    thread.start()
    thread.join()
    if work.failure is not None:
        raise work.failure
    return work.made[0]


class _Work:
    """What the thread does; its working directory and its mounts are its own."""

    def __init__(self, prepare: Prepare, furnish: Furnish) -> None:
        self._prepare = prepare
        self._furnish = furnish
        self.made: list[Detached] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        made = Detached(-1, -1)
        try:
            libc.unshare(_CLONE_NEWNS)
            made = self._make()
            self._furnish(made.root_fd)
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            made.close()
            self.failure = error
            return
        self.made.append(made)

    def _make(self) -> Detached:
        # What is mounted here must not show on the host.
        libc.mount("none", "/", None, mount.MS_REC | mount.MS_PRIVATE, None)
        namespace_fd = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.chdir(self._prepare())
            # Without the host's mounts: those of other containers would be kept by this copy.
            _pivot_root(".", ".")
            libc.umount(".", mount.MNT_DETACH)
            root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except BaseException:
            os.close(namespace_fd)
            raise
        return Detached(root_fd, namespace_fd)


def _pivot_root(new: str, old: str) -> None:
    """pivot_root(2), which the C library has no function for."""
    machine = os.uname().machine
    if machine not in _PIVOT_ROOT:
        raise NotImplementedError(f"the number of pivot_root on {machine} is unknown")
    paths = (ctypes.c_char_p(os.fsencode(path)) for path in (new, old))
    libc.syscall("pivot_root", _PIVOT_ROOT[machine], *paths)
