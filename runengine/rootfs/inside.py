"""Access to a root filesystem that cannot leave it, hang on it or be filled up by it."""

from __future__ import annotations

import errno
import os
import stat

from runengine.errors import EngineError, InvalidParameter
from runengine.linux import libc
from runengine.rootfs.tree import Directory, Tree

_IN_ROOT = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
_CHUNK = 1 << 16
_MOUNTED = frozenset({"dev", "proc", "sys"})
"""Top directories that show something else once the container runs."""
_MAX_LINKS = 40
"""More in one name are a loop (path_resolution(7))."""


def open_root(path: str) -> int:
    """Descriptor of a root filesystem, for the functions below; the caller closes it."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def read_text(root_fd: int, path: str, limit: int = 1 << 20) -> str | None:
    """The text of a file, links followed inside the root; None where there is nothing.

    Raises InvalidParameter for anything but a regular file of up to ``limit`` bytes: reading a
    fifo or a device could hang, here or in the runtime, which reads the same files. It is looked
    at without being opened. Links into /dev, /proc and /sys count as such, as these get mounted.
    """
    fd = _find(root_fd, path)
    if fd is None:
        _refuse_mounted(path, _leads(root_fd, path))
        return None
    try:
        _refuse_mounted(path, _name_of(fd, root_fd))
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            raise _unreadable(path, "is not a regular file")
        data = _read(fd, limit) if seen.st_size <= limit else None
    finally:
        os.close(fd)
    if data is None:
        raise _unreadable(path, f"is larger than {limit} bytes")
    return data.decode("utf-8", "surrogateescape")


def _unreadable(path: str, what: str) -> InvalidParameter:
    return InvalidParameter(
        f"{path} in the container {what}",
        resolution="put a plain file in its place, in the image or where runengine mount shows the"
        " container's files",
    )


def _refuse_mounted(path: str, real: str) -> None:
    if real.split("/")[1] in _MOUNTED:
        raise _unreadable(path, f"is a link to {real}")


def _leads(root_fd: int, path: str) -> str:
    """The name that links lead to, read one by one and no further than what gets mounted.

    There, as in a container that runs, links may lead to whoever follows them.
    """
    done: list[str] = []
    todo = path.split("/")[::-1]
    links = 0
    while todo and not _MOUNTED.intersection(done[:1]):
        name = todo.pop()
        if name == "..":
            del done[-1:]
        elif name not in ("", "."):
            target = _link(root_fd, "/".join([*done, name]))
            if target is None:
                done.append(name)
                continue
            links += 1
            if links > _MAX_LINKS:
                return "/"
            done = [] if target.startswith("/") else done
            todo += target.split("/")[::-1]
    return "/" + "/".join([*done, *todo[::-1]])


def _link(root_fd: int, path: str) -> str | None:
    try:
        return os.readlink(path, dir_fd=root_fd)
    except OSError:
        return None


def _find(root_fd: int, path: str) -> int | None:
    """O_PATH descriptor of whatever is there; None where nothing is."""
    try:
        return libc.openat2(root_fd, path.lstrip("/") or ".", os.O_PATH, resolve=_IN_ROOT)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _read(path_fd: int, limit: int) -> bytes | None:
    """The file's bytes, by a second descriptor of the same inode; None if it has too many."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(f"/proc/self/fd/{path_fd}", flags)
    try:
        data = bytearray()
        while len(data) <= limit:
            piece = os.read(fd, min(_CHUNK, limit + 1 - len(data)))
            if not piece:
                return bytes(data)
            data += piece
    finally:
        os.close(fd)
    return None


def ensure_directory(root_fd: int, path: str, mode: int = 0o755) -> str:
    """Make the directory ``path`` and what it needs, links followed inside the root.

    Returns its real name from the root, with a leading slash. Raises InvalidParameter where
    something else than a directory is in the way.
    """
    tree = _GrowingTree(root_fd, mode)
    try:
        return "/" + tree.resolve(path)
    except NotADirectoryError as error:
        raise InvalidParameter(
            f"{path}: /{error.filename} in the image is not a directory",
            resolution="name another place, or remove the file from the image",
        ) from None
    except OSError as error:
        raise EngineError(f"cannot make {path} in the image", details=error.strerror) from error


def ensure_mountpoint(root_fd: int, path: str, *, directory: bool) -> str:
    """Make something to mount on at ``path``: a directory, or an empty file.

    Returns its real name from the root, with a leading slash. Raises InvalidParameter if what is
    there is of the other kind.
    """
    if directory:
        return ensure_directory(root_fd, path)
    fd = _find(root_fd, path)
    if fd is None:
        folder, _, name = path.rstrip("/").rpartition("/")
        parent = ensure_directory(root_fd, folder)
        return _make_file(root_fd, parent, name, path)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidParameter(
                f"{path} in the image is a directory, so no file can be mounted there"
            )
        return _name_of(fd, root_fd)
    finally:
        os.close(fd)


def _make_file(root_fd: int, parent: str, name: str, path: str) -> str:
    tree = Tree(root_fd)
    fd = tree.open(parent.lstrip("/"))
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=fd))
    except FileExistsError:
        # Nothing answers to the name, yet something has it: a link to nowhere.
        raise InvalidParameter(
            f"{path} in the image is a symbolic link to a file that is not there",
            resolution="mount on the link's target instead",
        ) from None
    finally:
        os.close(fd)
    return f"{parent.rstrip('/')}/{name}"


def _name_of(fd: int, root_fd: int) -> str:
    root = os.readlink(f"/proc/self/fd/{root_fd}")
    return "/" + os.readlink(f"/proc/self/fd/{fd}")[len(root) :].lstrip("/")


class _GrowingTree(Tree):
    """Makes the directories that are missing."""

    def __init__(self, root_fd: int, mode: int) -> None:
        super().__init__(root_fd)
        self._mode = mode

    def missing(self, parent: Directory, name: str) -> None:
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        made = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            os.fchmod(made, self._mode)
        finally:
            os.close(made)
