"""Detach keys: the sequence that leaves a session without ending it."""

from __future__ import annotations

from runengine.errors import InvalidParameter

DEFAULT = b"\x10\x11"
"""ctrl-p,ctrl-q"""

_CONTROL = {f"ctrl-{chr(code)}": code - 96 for code in range(ord("a"), ord("z") + 1)} | {
    "ctrl-@": 0,
    "ctrl-[": 27,
    "ctrl-\\": 28,
    "ctrl-]": 29,
    "ctrl-^": 30,
    "ctrl-_": 31,
}


def parse(text: str) -> bytes:
    """Keys as Docker writes them: ``ctrl-p,ctrl-q``, ``a``, ``ctrl-@,x``; empty: no keys.

    Raises InvalidParameter naming the key that is none.
    """
    if not text:
        return b""
    keys = bytearray()
    for key in text.split(","):
        code = _CONTROL.get(key.lower() if len(key) > 1 else key)
        if code is None and (len(key) != 1 or ord(key) > 126):
            raise InvalidParameter(
                f"invalid detach keys {text!r}: unknown key {key!r}",
                resolution="use single characters and ctrl-<a-z, @, [, \\, ], ^, _>,"
                " separated by commas",
            )
        keys.append(ord(key) if code is None else code)
    return bytes(keys)


class DetachKeys:
    """Looks for a key sequence in what a user types, across reads."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete.

        The beginning of a sequence is held back until it proves to be none; what follows a
        complete sequence is dropped with it.
        """
        if not self._keys:
            return data, False
        data = self._held + data
        at = data.find(self._keys)
        if at >= 0:
            self._held = b""
            return data[:at], True
        keep = self._partial(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep], False

    def _partial(self, data: bytes) -> int:
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                return length
        return 0

    def flush(self) -> bytes:
        """What was held back, at the end of input."""
        held, self._held = self._held, b""
        return held
