"""Archives of commands: made into a file that is whole or absent, or stdout; read from either."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from runengine.errors import EngineError, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextmanager
def archive_output(path: str | None) -> Iterator[int]:
    """An open file to write to; ``path`` None is stdout, which must not be a terminal.

    A regular file takes the place of an old one when all of it is there, and only then. Raises
    InvalidParameter before anything is made, EngineError for a full disk.
    """
    try:
        with _target(path) as fd:
            yield fd
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = path or "standard output"
        raise EngineError(f"cannot write {where}", details=error.strerror) from error


@contextmanager
def archive_input(path: str) -> Iterator[BinaryIO]:
    """An open file to read from; ``-`` is stdin, which must be no terminal.

    Raises InvalidParameter.
    """
    if path == "-":
        if sys.stdin.isatty():
            raise InvalidParameter("nothing to import from a terminal", resolution="name a file")
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise InvalidParameter(f"cannot open {path}: {error.strerror}") from None
    with file:
        yield file


@contextmanager
def _target(path: str | None) -> Iterator[int]:
    if path is None or path == "-":
        if sys.stdout.isatty():
            raise InvalidParameter(
                "cowardly refusing to save to a terminal",
                resolution="use the -o flag or redirect",
            )
        sys.stdout.flush()
        yield sys.stdout.fileno()
    elif _is_special(path):
        with _opened(path, os.O_WRONLY) as fd:
            yield fd
    else:
        with _replacing(path) as fd:
            yield fd


def _is_special(path: str) -> bool:
    """Whether there is a pipe or a device, which is written to as it is."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        raise InvalidParameter(f"invalid output path: {path} is a directory")
    return not stat.S_ISREG(mode)


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidParameter(f"invalid output path {path}: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _hint(path: str) -> str | None:
    folder = Path(path).parent
    return None if folder.is_dir() else f"mkdir -p {folder}"


@contextmanager
def _replacing(path: str) -> Iterator[int]:
    target = Path(path).resolve()
    if hint := _hint(path):
        raise InvalidParameter(
            f"invalid output path: there is no directory {Path(path).parent}", resolution=hint
        )
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    with _opened(str(temporary), os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
        try:
            yield fd
            temporary.rename(target)
        except BaseException:
            temporary.unlink()
            raise
