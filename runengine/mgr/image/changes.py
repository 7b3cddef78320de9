"""``--change``: Dockerfile instructions that set the configuration of an image without a build.

Source: the Dockerfile reference; the instructions are those that ``docker import`` and ``docker
commit`` take.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Section = dict[str, Any]

_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", re.DOTALL)
_QUOTED = re.compile(
    r"""\\(?P<escaped>.)|"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'""", re.DOTALL
)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9
}  # fmt: skip
_HEALTH_OPTIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_NOT_AFTER_ONBUILD = ("ONBUILD", "FROM", "MAINTAINER")


def apply(section: Section, changes: Iterable[str]) -> Section:
    """The execution parameters with every instruction applied in order.

    Raises InvalidParameter naming the instruction.
    """
    changed: Section = json.loads(json.dumps(section))
    for change in changes:
        name, _, rest = change.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(name.upper())
        if instruction is None:
            raise InvalidParameter(
                f"{name.upper() or 'an empty line'} is not a valid change command",
                resolution=f"use one of {', '.join(sorted(_INSTRUCTIONS))}",
            )
        instruction(changed, rest.strip())
    return changed


def _cmd(section: Section, rest: str) -> None:
    section["Cmd"] = _command(section, rest, "CMD")


def _entrypoint(section: Section, rest: str) -> None:
    section["Entrypoint"] = _command(section, rest, "ENTRYPOINT")


def _command(section: Section, rest: str, name: str) -> list[str]:
    """A JSON list is taken as it is; anything else is a line for the shell."""
    words = _json_list(rest)
    if words is not None:
        return words
    if not rest:
        raise _invalid(name, "requires at least one argument")
    return [*(section.get("Shell") or ["/bin/sh", "-c"]), rest]


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return None


def _shell(section: Section, rest: str) -> None:
    words = _json_list(rest)
    if not words:
        raise _invalid("SHELL", "requires the arguments to be in JSON form")
    section["Shell"] = words


def _env(section: Section, rest: str) -> None:
    merged = dict(entry.partition("=")[::2] for entry in section.get("Env") or [])
    merged.update(_pairs(rest, "ENV"))
    section["Env"] = [f"{key}={value}" for key, value in merged.items()]


def _label(section: Section, rest: str) -> None:
    section["Labels"] = {**(section.get("Labels") or {}), **dict(_pairs(rest, "LABEL"))}


def _pairs(rest: str, name: str) -> list[tuple[str, str]]:
    """``K=V K2="v w"``, or the old form ``K all the rest``."""
    words = _words(rest, name)
    if not words:
        raise _invalid(name, "requires at least one argument")
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        if not value.strip():
            raise _invalid(name, "must have two arguments")
        return [(_unquoted(key), value.strip())]
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise _invalid(
                name, f"syntax error: can't find = in {word!r}; must be of the form: name=value"
            )
        pairs.append((_unquoted(key), _unquoted(value)))
    if not all(key for key, _ in pairs):
        raise _invalid(name, "names can not be blank")
    return pairs


def _words(text: str, name: str) -> list[str]:
    """Split at unquoted blanks; the quotes stay."""
    words = _WORD.findall(text)
    if not _covers(words, text):
        raise _invalid(name, "has an unfinished quote")
    return words


def _covers(words: list[str], text: str) -> bool:
    position = 0
    for word in words:
        start = text.find(word, position)
        if text[position:start].strip():
            return False
        position = start + len(word)
    return not text[position:].strip()


def _unquoted(word: str) -> str:
    def plain(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return match["escaped"]
        if match["double"] is not None:
            return re.sub(r"\\([\"\\$])", r"\1", match["double"])
        return match["single"]

    return _QUOTED.sub(plain, word)


def _expose(section: Section, rest: str) -> None:
    ports = dict(section.get("ExposedPorts") or {})
    words = rest.split()
    if not words:
        raise _invalid("EXPOSE", "requires at least one argument")
    for word in words:
        match = _PORT.fullmatch(word)
        if match is None:
            raise _invalid("EXPOSE", f"invalid port {word!r}")
        low, high = int(match[1]), int(match[2] or match[1])
        if not 0 < low <= high < 65536:
            raise _invalid("EXPOSE", f"invalid port range {word!r}")
        protocol = (match[3] or "tcp").lower()
        ports.update({f"{port}/{protocol}": {} for port in range(low, high + 1)})
    section["ExposedPorts"] = ports


def _volume(section: Section, rest: str) -> None:
    paths = _json_list(rest)
    paths = rest.split() if paths is None else paths
    if not paths or not all(path.strip() for path in paths):
        raise _invalid("VOLUME", "requires at least one path, none of them empty")
    section["Volumes"] = {**(section.get("Volumes") or {}), **{path: {} for path in paths}}


def _workdir(section: Section, rest: str) -> None:
    if not rest:
        raise _invalid("WORKDIR", "requires exactly one argument")
    base = section.get("WorkingDir") or "/"
    path = posixpath.normpath(posixpath.join("/", base, _unquoted(rest)))
    section["WorkingDir"] = "/" + path.lstrip("/")


def _user(section: Section, rest: str) -> None:
    if not rest or len(rest.split()) != 1:
        raise _invalid("USER", "requires exactly one argument")
    section["User"] = rest


def _stop_signal(section: Section, rest: str) -> None:
    if not rest or len(rest.split()) != 1:
        raise _invalid("STOPSIGNAL", "requires exactly one argument")
    section["StopSignal"] = rest


def _on_build(section: Section, rest: str) -> None:
    trigger = rest.partition(" ")[0].upper()
    if not trigger or trigger in _NOT_AFTER_ONBUILD:
        raise _invalid("ONBUILD", f"{trigger or 'nothing'} isn't allowed as a trigger")
    section["OnBuild"] = [*(section.get("OnBuild") or []), rest]


def _health_check(section: Section, rest: str) -> None:
    options, command = _health_options(rest)
    kind, _, argument = command.partition(" ")
    if kind.upper() == "NONE" and not argument.strip() and not options:
        section["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD" or not argument.strip():
        raise _invalid("HEALTHCHECK", "is NONE, or options and CMD with a command")
    words = _json_list(argument.strip())
    test = ["CMD", *words] if words else ["CMD-SHELL", argument.strip()]
    section["Healthcheck"] = {"Test": test, **options}


def _health_options(rest: str) -> tuple[dict[str, int], str]:
    options: dict[str, int] = {}
    while rest.startswith("--"):
        word, _, rest = rest.partition(" ")
        name, _, value = word[2:].partition("=")
        if name == "retries" and value.isdigit():
            options["Retries"] = int(value)
        elif name in _HEALTH_OPTIONS:
            options[_HEALTH_OPTIONS[name]] = _duration_ns(value)
        else:
            raise _invalid("HEALTHCHECK", f"bad option {word!r}")
        rest = rest.strip()
    return options, rest


def _duration_ns(text: str) -> int:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise _invalid("HEALTHCHECK", f"bad duration {text!r}")
    return int(sum(float(number) * _DURATION_NS[unit] for number, unit in parts))


def _invalid(name: str, why: str) -> InvalidParameter:
    return InvalidParameter(f"--change {name} {why}")


_INSTRUCTIONS: dict[str, Callable[[Section, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health_check,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
