"""``--env``, ``--env-file``, ``--label`` and ``--label-file``.

Source: Docker CLI reference, ``docker container run``, "Set environment variables".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_FILE_BYTES = 16 << 20
_BLANKS = " \t"


def environment(
    variables: Iterable[str], files: Iterable[str], caller: Mapping[str, str] | None = None
) -> list[str]:
    """The variables that a command line asks for: files in order, ``--env`` on top.

    A bare ``NAME`` takes the caller's value. Where the caller has none, a line of a file counts
    for nothing, and ``--env NAME`` stays bare: the engine then removes what the image sets.
    Raises InvalidParameter.
    """
    caller = os.environ if caller is None else caller
    found = []
    for path in files:
        for line, number in _lines(path):
            name, equals, _ = line.partition("=")
            _check_name(name, path, number)
            if equals or name in caller:
                found.append(line if equals else _taken(name, caller))
    for item in variables:
        name, equals, _ = item.partition("=")
        if not name:
            raise InvalidParameter(
                f'invalid environment variable: "{item}"', resolution="use NAME=VALUE or NAME"
            )
        found.append(item if equals or name not in caller else _taken(name, caller))
    return found


def _taken(name: str, caller: Mapping[str, str]) -> str:
    value = caller[name]
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"the caller's variable {name} is not UTF-8 text") from None
    return f"{name}={value}"


def labels(items: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Labels of files in order, ``--label`` on top. Raises InvalidParameter."""
    found = {}
    for path in files:
        for line, number in _lines(path):
            name, _, value = line.partition("=")
            _check_name(name, path, number)
            found[name] = value
    for item in items:
        name, _, value = item.partition("=")
        if not name:
            raise InvalidParameter(
                f'invalid label "{item}": its name is empty', resolution="use NAME=VALUE or NAME"
            )
        found[name] = value
    return found


def _check_name(name: str, path: str, number: int) -> None:
    if not name:
        raise InvalidParameter(f"{path}, line {number}: no variable name before the '='")
    if any(letter.isspace() for letter in name):
        raise InvalidParameter(f"{path}, line {number}: variable '{name}' contains whitespaces")


def _lines(path: str) -> Iterator[tuple[str, int]]:
    """Lines that say something, with their numbers; leading blanks and a BOM are dropped."""
    for number, raw in enumerate(_read(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode().lstrip(_BLANKS)
        except UnicodeDecodeError:
            raise InvalidParameter(f"{path}, line {number}: invalid UTF-8") from None
        if "\0" in line:
            raise InvalidParameter(f"{path}, line {number}: a NUL byte")
        if line and not line.startswith("#"):
            yield line, number


def _read(path: str) -> bytes:
    # Also serves <(process substitution), so a FIFO must be read to its end.
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidParameter(f"cannot read {path!r}: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InvalidParameter(f"{path!r} is too large for a file of variables")
    return data
