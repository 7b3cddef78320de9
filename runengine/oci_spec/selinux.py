"""SELinux labels: ``--security-opt label=…``, and which one a container's processes and files get.

Sources: Docker CLI reference (``run``, security options); podman-run(1) on ``filetype`` and
``nested``; lxc_contexts(5) of container-selinux; the kernel's Documentation on ``context=``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DISABLE = "disable"
NESTED = "nested"
FILE_TYPE = "filetype"
_PARTS = ("user", "role", "type", "level")
CATEGORIES = 1024
SHARED_LEVEL = "s0"
# Labels of these would lock the host's own programs out, for good.
NEVER_RELABEL = frozenset(
    ("/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home",
     "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys",
     "/system", "/tmp", "/usr", "/var", "/var/lib", "/var/log")  # noqa: S108 - a name only
)  # fmt: skip


class Context(NamedTuple):
    """A label: ``user:role:type:level``; the level is what keeps containers apart."""

    user: str
    role: str
    type: str
    level: str = ""

    def __str__(self) -> str:
        """As the kernel writes it."""
        return ":".join(part for part in self if part)


class Labels(NamedTuple):
    """Of a container's processes, and of the files that only it may use; empty: none is set."""

    process: str
    mount: str


class Options(NamedTuple):
    """``label=…`` of every ``--security-opt``, parsed."""

    disabled: bool = False
    nested: bool = False
    """Whether the container may ask and tell SELinux (/sys/fs/selinux is there)."""
    parts: tuple[tuple[str, str], ...] = ()
    """Pairs of a label's part, or ``filetype``, and its value."""


def parse_context(text: str) -> Context:
    """Parse a label. Raises ValueError."""
    parts = text.strip().split(":", 3)
    if len(parts) < 3 or not all(parts):
        raise ValueError(f"{text!r} is not a label: user:role:type:level")
    return Context(*parts)


def parse(values: Iterable[str]) -> Options:
    """Parse the values of ``label``; ``disable`` outdoes all others. Raises InvalidParameter."""
    found = Options()
    for value in values:
        if value in (DISABLE, NESTED):
            disabled, nested = value == DISABLE, value == NESTED
            found = Options(found.disabled or disabled, found.nested or nested, found.parts)
            continue
        part, colon, text = value.partition(":")
        if part not in (*_PARTS, FILE_TYPE) or not colon or not _is_word(text, part):
            raise InvalidParameter(
                f"invalid --security-opt label={value}",
                resolution=f"use {DISABLE}, {NESTED}, or one of {', '.join(_PARTS)}, {FILE_TYPE}"
                " followed by ':' and a value",
            )
        found = found._replace(parts=(*found.parts, (part, text)))
    return found


def _is_word(text: str, part: str) -> bool:
    """Whether it can be that part of a label: only a level has colons and commas in it."""
    further = "_-.:," if part == "level" else "_-."
    return bool(text) and all((c.isascii() and c.isalnum()) or c in further for c in text)


def labels(options: Options, process: Context, file: Context, level: str) -> Labels:
    """The labels of a container, from the policy's own for containers and a level of its own."""
    process, file = process._replace(level=level), file._replace(level=level)
    for part, value in options.parts:
        if part == FILE_TYPE:
            file = file._replace(type=value)
            continue
        process = process._replace(**{part: value})
        if part in ("user", "level"):
            file = file._replace(**{part: value})
    return Labels("" if options.disabled else str(process), str(file))


def shared(label: str) -> str:
    """The label of files that every container may use."""
    return str(parse_context(label)._replace(level=SHARED_LEVEL))


def level_of(label: str) -> str:
    """The level in a label."""
    return parse_context(label).level


def free_level(taken: Iterable[str], draws: Iterable[Sequence[int]]) -> str | None:
    """The first of the drawn pairs of categories that is nobody's, as a level; None if none is."""
    used = set(taken)
    levels = (f"{SHARED_LEVEL}:c{low},c{high}" for low, high in map(sorted, draws))
    return next((level for level in levels if level not in used), None)
