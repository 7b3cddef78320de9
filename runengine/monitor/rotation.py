"""The names of a log's older files: ``.1`` is the newest; compressed ones end in ``.gz``.

Every monitor loads this, so nothing here may cost memory: contextlib alone is 0.8 MiB.
"""

from __future__ import annotations

import os

SUFFIX = ".gz"
UNFINISHED = ".gz.tmp"
MODE = 0o640


def shift(path: str, max_file: int) -> None:
    """Give each older file the next number, and the current one the first. Raises OSError."""
    free = 1
    while free < max_file - 1 and is_there(path, free):
        free += 1
    for number in range(free, 1, -1):
        _move(f"{path}.{number - 1}", f"{path}.{number}")
    try:
        if max_file == 1:
            os.unlink(path)
        else:
            os.rename(path, f"{path}.1")
            remove(f"{path}.1{SUFFIX}")
    except FileNotFoundError:
        return  # somebody else has removed it


def is_there(path: str, number: int) -> bool:
    """Whether there is such a file, in whichever form."""
    return any(os.path.exists(f"{path}.{number}{form}") for form in ("", SUFFIX))


def _move(source: str, target: str) -> None:
    """In whichever form it is; readers look for the plain one first, so that never is an old one.

    Both are there where a compression was cut short at its end.
    """
    if os.path.exists(source) or not os.path.exists(source + SUFFIX):
        os.rename(source, target)
        remove(target + SUFFIX)
        remove(source + SUFFIX)
    else:
        remove(target)
        os.rename(source + SUFFIX, target + SUFFIX)


def remove(path: str) -> None:
    """Remove a file that may be gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
