"""Files that are whole or absent: write beside, fsync, rename, fsync the directory."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # Not from typing: the monitor loads this module and stays small.
if TYPE_CHECKING:
    from typing import Any

READ_SIZE = 64 << 10


def replace(path: str, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Atomically put ``data`` at ``path``; with ``durable`` it survives a power cut (rename(2)).

    Raises OSError; the old content is then still there and no temporary file is left.
    """
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data)
            os.fchmod(fd, mode)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(os.path.dirname(path))


def replace_json(path: str, value: Any, *, mode: int = 0o600, durable: bool = True) -> None:
    """``replace`` with a JSON document and a final newline."""
    import json

    replace(path, json.dumps(value).encode() + b"\n", mode=mode, durable=durable)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything, however often write(2) stops short."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: str) -> None:
    """Make renames in ``path`` durable."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_optional(path: str) -> bytes | None:
    """The file's content, or None where there is no file."""
    # By descriptor: file objects bring buffers and, to the monitor, pages of memory.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        data = more = os.read(fd, READ_SIZE)
        while more:
            more = os.read(fd, READ_SIZE)
            data += more
        return data
    finally:
        os.close(fd)
