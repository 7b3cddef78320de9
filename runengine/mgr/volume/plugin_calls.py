"""Calls of a plugin: one HTTP request with a JSON document on a unix socket, within a deadline.

The deadline is for all of a call, not for each piece: a plugin that sends a byte now and then
hangs as well. The answer is read to its end first and understood afterwards.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from runengine.errors import TimedOut, Unavailable

MAX_ANSWER_BYTES = 16 << 20
_TYPE = "application/vnd.docker.plugins.v1.2+json"


def call(
    path: str, plugin: str, method: str, document: object, timeout_s: float
) -> dict[str, Any]:
    """What a plugin answers. Raises Unavailable (also with the plugin's own words), TimedOut."""
    what = f"volume driver {plugin}: {method}"
    try:
        status, body = _exchange(path, method, json.dumps(document).encode(), timeout_s)
    except TimeoutError:
        raise TimedOut(
            f"{what}: no answer in {timeout_s:g} s", resolution=f"see who serves {path}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(
            f"{what}: {path}: {reason}", resolution="see whether the plugin runs"
        ) from None
    return _understood(what, status, body)


def _understood(what: str, status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body) if body.strip() else {}
    except ValueError:
        answer = None
    told = str(answer.get("Err") or "") if isinstance(answer, dict) else ""
    if told or status >= 400:
        text = told or body[:200].decode("utf-8", "replace").strip()
        raise Unavailable(what, details=text or f"status {status}")
    if not isinstance(answer, dict):
        raise Unavailable(f"{what}: the answer is no JSON object")
    return answer


def _exchange(path: str, method: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    """Send a request and read the answer; its status and its body. Raises OSError, ValueError."""
    deadline = time.monotonic() + timeout_s
    head = (
        f"POST /{method} HTTP/1.1\r\nHost: plugin\r\nAccept: {_TYPE}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        connection.sendall(head.encode() + body)
        data = bytearray()
        while not _is_whole(data):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            piece = connection.recv(1 << 16)
            if not piece:
                break
            data += piece
            if len(data) > MAX_ANSWER_BYTES:
                raise ValueError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return _parsed(bytes(data))


def _is_whole(data: bytearray) -> bool:
    """Whether an answer that gives its length is complete; others end with the connection."""
    head, separator, _ = bytes(data[: 1 << 16]).partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(data) - len(head) - len(separator) >= int(value)
    return data.endswith(b"0\r\n\r\n") and b"chunked" in head.lower()


def _parsed(data: bytes) -> tuple[int, bytes]:
    import http.client
    import io

    class _Read:
        """Bytes that were read already, in the shape that the parser wants."""

        def makefile(self, *_: object) -> io.BytesIO:
            return io.BytesIO(data)

    answer = http.client.HTTPResponse(_Read())  # type: ignore[arg-type]
    try:
        answer.begin()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ValueError(f"the answer is no HTTP: {error!r}") from None
