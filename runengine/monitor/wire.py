"""What travels between the monitor and its clients: frames, JSON, file names.

The monitor process loads this, so nothing here may import typing, json, re or enum: each of
them would cost a third of a megabyte in every monitor.

A frame is Docker's multiplexed stream: one byte stream, three zero bytes, length (32 bits, big
endian), payload (Docker Engine API, "Attach to a container", stream format). Docker has streams
0 to 2; stream 3 carries JSON objects, requests towards the monitor and events from it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STDIN = 0
STDOUT = 1
STDERR = 2
CONTROL = 3

HEADER_SIZE = 8
MAX_PAYLOAD = 16 << 20
"""A longer frame means that the peer does not speak this protocol."""

CONTROL_FD = 3
"""Where a monitor finds its control socket."""
FD_BYTES = 4
"""A descriptor in a control message; the array module that does this costs half a megabyte."""
SOCKET_NAME = "monitor.sock"
LOCK_NAME = "monitor.lock"
INIT_NAME = "init.json"
EXIT_NAME = "exit.json"
RESTART_NAME = "restart.json"
"""Who waits to start the container again, and until when."""
NOTES_NAME = "monitor.log"
"""Where a monitor writes what should never happen."""

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""All that a monitor and its runtime get: a caller's TMPDIR or LISTEN_FDS must not live on."""


class ProtocolError(ValueError):
    """The peer sent something that is not a frame."""


def header(stream: int, length: int) -> bytes:
    """The eight bytes in front of a payload."""
    return bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


def frame(stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return header(stream, len(payload)) + payload


def control(message: dict[str, Any]) -> bytes:
    """A frame with a request or an event."""
    return frame(CONTROL, dumps(message))


class Splitter:
    """Cuts a byte stream into frames, however the kernel happened to deliver it."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that ``data`` completes. Raises ProtocolError on a malformed header."""
        data = self._rest + data if self._rest else data
        frames = []
        at = 0
        while len(data) - at >= HEADER_SIZE:
            length = int.from_bytes(data[at + 4 : at + HEADER_SIZE], "big")
            if data[at] > CONTROL or length > MAX_PAYLOAD:
                raise ProtocolError(f"not a frame: {data[at : at + HEADER_SIZE].hex()}")
            end = at + HEADER_SIZE + length
            if end > len(data):
                break
            frames.append((data[at], data[at + HEADER_SIZE : end]))
            at = end
        self._rest = data[at:]
        return frames


class _ScannerSettings:
    """What json.JSONDecoder would hand to the C scanner."""

    __slots__ = ()
    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _lean_codec() -> tuple[Any, Any] | None:
    # The json package is a thin wrapper around _json, but loads re and enum: 0.7 MB.
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner

        settings: Any = _ScannerSettings()
        scan = make_scanner(settings)
        # Arguments: markers, default, string encoder, indent, separators, sort, skip, nan.
        options = (None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
        encode: Any = make_encoder(*options)
        if "".join(encode(scan('{"a":[1.5,null]}', 0)[0], 0)) == '{"a":[1.5,null]}':
            return scan, encode
    except (ImportError, AttributeError, TypeError):
        pass
    return None


def _codec() -> tuple[Any, Any]:
    """Functions: text to (value, end), value to text."""
    lean = _lean_codec()
    if lean is None:
        import json

        return json.JSONDecoder().raw_decode, json.dumps
    scan, encode = lean
    return (lambda text: scan(text, 0)), (lambda value: "".join(encode(value, 0)))


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_decode, _encode = _codec()


def dumps(value: Any) -> bytes:
    """JSON text of dictionaries, lists, strings, numbers, booleans and None."""
    return str(_encode(value)).encode()


def loads(data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``. Raises ProtocolError if it is something else."""
    try:
        text = data.decode().strip()
        value, end = _decode(text)
    except (ValueError, StopIteration, SystemError) as error:
        # SystemError: the scanner finds no json.JSONDecodeError to raise, as json is not loaded.
        raise ProtocolError(f"not JSON: {data[:80]!r}") from error
    if not isinstance(value, dict) or end != len(text):
        raise ProtocolError(f"not one JSON object: {data[:80]!r}")
    return value
