"""Hooks that the host's operator gives to containers: Podman's files (oci-hooks(5), 1.0.0).

A file says which program runs at which points of a container's life, and for which containers.
Read by hand and not by a model, as every start reads them where there are some.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter
from runengine.oci_spec.cdi import Hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Pattern = re.Pattern[str]

VERSION = "1.0.0"
STAGES = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
_CLASSES = {
    "[:alnum:]": "a-zA-Z0-9",
    "[:alpha:]": "a-zA-Z",
    "[:blank:]": r" \t",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:space:]": r"\s",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9a-fA-F",
}
"""What extended regular expressions have inside brackets, and Python has not."""
_MAX_TIMEOUT_S = (1 << 31) - 1


class Subject(NamedTuple):
    """What of a container decides about its hooks."""

    command: str
    """The program, as the container names it."""
    annotations: Mapping[str, str]
    has_bind_mounts: bool


class When(NamedTuple):
    """Conditions; all that are set must hold."""

    always: bool | None
    has_bind_mounts: bool | None
    annotations: tuple[tuple[Pattern, Pattern], ...]
    commands: tuple[Pattern, ...]


class Document(NamedTuple):
    """One file."""

    path: str
    section: dict[str, Any]
    """The program as the runtime spec has it (config.md#posix-platform-hooks)."""
    when: When
    stages: tuple[str, ...]


class _Wrong(Exception):
    """A field that cannot be used, and why."""


def parse(data: bytes, path: str) -> Document:
    """The hook in a file. Raises InvalidParameter naming the file and the field."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"hook {path}: no JSON: {error}") from None
    try:
        return _document(document, path)
    except _Wrong as error:
        raise InvalidParameter(f"hook {path}: {error}") from None


def select(documents: Iterable[Document], subject: Subject) -> list[Hook]:
    """The hooks that the container gets, in the order of the documents."""
    return [
        Hook(stage, document.section)
        for document in documents
        if matches(document.when, subject)
        for stage in document.stages
    ]


def matches(when: When, subject: Subject) -> bool:
    """Whether every condition that is set holds, and one is set."""
    if when.always is False or when.has_bind_mounts is False:
        return False  # as with Podman, where these are no opposites
    if when.has_bind_mounts and not subject.has_bind_mounts:
        return False
    pairs = subject.annotations.items()
    for key, value in when.annotations:
        if not any(key.search(name) and value.search(text) for name, text in pairs):
            return False
    if when.commands:
        return any(pattern.search(subject.command) for pattern in when.commands)
    return bool(when.always or when.has_bind_mounts or when.annotations)


def _document(value: Any, path: str) -> Document:
    fields = _object(value, "document", ("version", "hook", "when", "stages"))
    if fields.get("version") != VERSION:
        raise _Wrong(f"version: must be {VERSION}")
    section, when = _section(fields.get("hook")), _when(fields.get("when"))
    return Document(path, section, when, _stages(fields.get("stages")))


def _section(value: Any) -> dict[str, Any]:
    fields = _object(value, "hook", ("path", "args", "env", "timeout"))
    path = fields.get("path")
    if not isinstance(path, str) or not path.startswith("/") or not _is_word(path):
        raise _Wrong("hook.path: must be an absolute path")
    section: dict[str, Any] = {"path": path}
    for key in ("args", "env"):
        if fields.get(key) is not None:
            section[key] = _strings(fields[key], f"hook.{key}")
    for variable in section.get("env", ()):
        if "=" not in variable[1:]:
            raise _Wrong(f"hook.env: {variable!r} is not NAME=VALUE")
    timeout = fields.get("timeout")
    if timeout is not None:
        # A hook that may take no time at all could only fail.
        if type(timeout) is not int or not 1 <= timeout <= _MAX_TIMEOUT_S:
            raise _Wrong("hook.timeout: must be a number of seconds, 1 or more")
        section["timeout"] = timeout
    return section


def _when(value: Any) -> When:
    fields = _object(value, "when", ("always", "annotations", "commands", "hasBindMounts"))
    for key in ("always", "hasBindMounts"):
        if not isinstance(fields.get(key), bool | None):
            raise _Wrong(f"when.{key}: must be true or false")
    annotations = fields.get("annotations")
    if annotations is None:
        annotations = {}
    if not isinstance(annotations, dict):
        raise _Wrong("when.annotations: must be an object")
    commands = fields.get("commands")
    when = When(
        fields.get("always"),
        fields.get("hasBindMounts"),
        tuple(
            (_pattern(key, "when.annotations"), _pattern(text, "when.annotations"))
            for key, text in annotations.items()
        ),
        tuple(
            _pattern(text, "when.commands")
            for text in ([] if commands is None else _strings(commands, "when.commands"))
        ),
    )
    if when == When(None, None, (), ()):
        raise _Wrong('when: says of no container that it matches; {"always": true} is for all')
    return when


def _stages(value: Any) -> tuple[str, ...]:
    stages = _strings(value, "stages")
    for stage in stages:
        if stage not in STAGES:
            raise _Wrong(f"stages: {stage!r} is none of {', '.join(STAGES)}")
    if not stages:
        raise _Wrong(f"stages: name at least one of {', '.join(STAGES)}")
    return tuple(dict.fromkeys(stages))


def _pattern(text: Any, where: str) -> Pattern:
    if not isinstance(text, str):
        raise _Wrong(f"{where}: must be a regular expression")
    for name, characters in _CLASSES.items():
        text = text.replace(name, characters)
    if "[:" in text:
        # Python would take it for a set of these characters, and the hook would be left out.
        raise _Wrong(f"{where}: {text!r} has a class of characters that is not known")
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of sets that another Python may read otherwise
            return re.compile(text)
    except (re.error, ValueError, OverflowError, RecursionError, Warning) as error:
        raise _Wrong(f"{where}: {text!r} is no regular expression: {error}") from None


def _object(value: Any, where: str, known: Sequence[str]) -> dict[str, Any]:
    """An object with known keys alone: one that is not understood may be a condition."""
    if not isinstance(value, dict):
        raise _Wrong(f"{where}: must be an object")
    for key in value:
        if key not in known:
            raise _Wrong(f"{where}: there is no key {key!r}")
    return value


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(_is_word(text) for text in value):
        raise _Wrong(f"{where}: must be a list of strings")
    return value


def _is_word(value: Any) -> bool:
    """Whether a program can be given it: text without NUL, and no half of a character."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.encode(errors="ignore").decode() == value
