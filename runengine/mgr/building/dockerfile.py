"""Which images a Dockerfile builds on (Dockerfile reference: FROM, ARG, COPY --from).

Only so much is read of it: the engine offers the builder these images. What is not understood is
the builder's to understand, or to complain of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LIMIT_BYTES = 1 << 20
SCRATCH = "scratch"
_DIRECTIVE = re.compile(r"#\s*escape\s*=\s*(\S)\s*", re.IGNORECASE)
_FROM = re.compile(r"FROM\s+((?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_ARG = re.compile(r"ARG\s+(.+)", re.IGNORECASE)
_COPY_FROM = re.compile(r"(?:COPY|ADD)\s.*?--from=(\S+)", re.IGNORECASE)
_RUN_FROM = re.compile(r"RUN\s.*?--mount=(\S+)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")


def base_images(text: str, build_args: Iterable[str]) -> list[str]:
    """Names of images, in the order in which they come; no stages, no ``scratch``.

    A name with a variable whose value is not known is left out.
    """
    given = dict(arg.partition("=")[::2] for arg in build_args if "=" in arg)
    known: dict[str, str] = {}
    stages: set[str] = set()
    found: dict[str, None] = {}
    for line in _lines(text):
        if (match := _ARG.fullmatch(line)) and not stages:
            known |= _defaults(match[1], given)
        elif match := _FROM.fullmatch(line):
            name = _expanded(match[2], known)
            if name and name.lower() not in stages:
                found[name] = None
            stages.add((match[3] or f"stage {len(stages)}").lower())
        else:
            found |= dict.fromkeys(name for name in _sources(line) if _is_image(name, stages))
    found.pop(SCRATCH, None)
    return list(found)


def _lines(text: str) -> Iterator[str]:
    """Instructions, each on one line, without comments."""
    first = _DIRECTIVE.fullmatch(text.partition("\n")[0].strip())
    escape = first[1] if first else "\\"
    pending = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("#") or (pending and not line):
            continue
        if line.endswith(escape):
            pending += line[:-1] + " "
            continue
        yield (pending + line).strip()
        pending = ""
    if pending:
        yield pending.strip()


def _defaults(rest: str, given: dict[str, str]) -> dict[str, str]:
    """Values of the arguments that come before the first FROM."""
    values = {}
    for word in rest.split():
        name, equals, default = word.partition("=")
        if name in given:
            values[name] = given[name]
        elif equals:
            values[name] = default.strip("\"'")
    return values


def _expanded(name: str, known: dict[str, str]) -> str:
    """The name with its variables replaced; empty where one has no value."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = known.get(match[1] or match[2], match[3])
        missing |= found is None
        return found or ""

    text = _VARIABLE.sub(value, name.strip("\"'"))
    return "" if missing or "$" in text else text


def _sources(line: str) -> Iterator[str]:
    if match := _COPY_FROM.match(line):
        yield match[1].strip("\"'")
    if match := _RUN_FROM.match(line):
        for option in match[1].split(","):
            key, _, value = option.partition("=")
            if key == "from":
                yield value


def _is_image(name: str, stages: set[str]) -> bool:
    return bool(name) and not name.isdigit() and name.lower() not in stages and "$" not in name
