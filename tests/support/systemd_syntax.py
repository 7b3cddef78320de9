"""How systemd reads a line of a unit: after systemd.syntax(7) and systemd.service(5)."""

from __future__ import annotations

import re

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_WORD = re.compile(r'[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s"\']+))(?=[ \t]|$)')


def words(value: str) -> list[str]:
    """The words of a command line; specifiers and variables are not replaced but undone."""
    found, position = [], 0
    while position < len(value):
        match = _WORD.match(value, position)
        assert match, f"systemd could not read {value[position:]!r}"
        quoted, bare = match.groups()
        assert bare != ";", "a new command begins"
        word = _plain(_unescaped(bare if quoted is None else quoted))
        found.append(word)
        position = match.end()
    return found


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x":
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    assert re.fullmatch(r"(?:[^\\]|\\(?:x[0-9a-f]{2}|[abfnrtvs\\\"']))*", text, re.DOTALL)
    return re.sub(r"\\(x..|.)", one, text)


def _plain(text: str) -> str:
    """Undo the doubling; what is not doubled would have been replaced."""
    for sign in "%$":
        parts = text.split(sign * 2)
        assert not any(sign in part for part in parts), f"systemd would replace {text!r}"
        text = sign.join(parts)
    return text


def settings(unit: str) -> list[tuple[str, str, str]]:
    """Section, key and value of every line."""
    section, found = "", []
    for line in unit.split("\n"):
        if line.startswith("["):
            section = line[1:-1]
        elif line and not line.startswith(("#", ";")):
            assert not line.endswith("\\"), "the line goes on"
            key, equals, value = line.partition("=")
            assert equals, line
            found.append((section, key, value))
    return found
