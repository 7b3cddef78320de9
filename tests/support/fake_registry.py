"""A registry in a thread that misbehaves as told; for what a real one does not do."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.layouts import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.layouts import Layout


class Asked(NamedTuple):
    """One request."""

    path: str
    authorization: str
    range: str
    method: str = "GET"


class Fault(NamedTuple):
    """How the next answer to a path goes wrong; ``times`` < 0 is for ever."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    times: int = -1


class FakeRegistry:
    """Serves manifests (by tag and digest) and blobs of a ``Layout``; a context manager."""

    def __init__(self, layout: Layout | None = None, *, ranges: bool = True) -> None:
        self.blobs: dict[str, bytes] = dict(layout.blobs) if layout else {}
        self.types: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.ranges = ranges
        self.authorize: Callable[[str, str], dict[str, str] | None] | None = None
        """Given path and Authorization: None to let it pass, else the headers of a 401."""
        self.token: Callable[[dict[str, list[str]], str], tuple[int, dict[str, Any]]] | None = None
        """Answers ``/token``: status and document."""
        self.release = threading.Event()
        """Ends every stall."""
        handler = type("Handler", (self.handler(),), {"registry": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> FakeRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handler(self) -> type[Handler]:
        """What answers requests."""
        return Handler

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def tag(self, name: str, descriptor: dict[str, Any]) -> None:
        """Let ``name`` (a tag) lead to a manifest among the blobs."""
        self.tags[name] = descriptor["digest"]
        self.types[descriptor["digest"]] = descriptor["mediaType"]

    def put(self, tag: str, data: bytes, media_type: str) -> str:
        """Serve any bytes as the manifest of a tag; returns their digest."""
        digest = digest_of(data)
        self.blobs[digest] = data
        self.tag(tag, {"digest": digest, "mediaType": media_type})
        return digest

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Body and media type of a path of the API."""
        _, _, rest = path.partition("/v2/")
        for kind in ("/manifests/", "/blobs/"):
            _, found, key = rest.partition(kind)
            digest = self.tags.get(key, key)
            if found and digest in self.blobs:
                return self.blobs[digest], self.types.get(digest, "application/octet-stream")
        return None

    def fault_for(self, path: str) -> Fault | None:
        """The fault whose key is in the path, counted down."""
        for key, fault in self.faults.items():
            if key in path and fault.times:
                self.faults[key] = fault._replace(times=fault.times - 1)
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Hang up on clients that keep their connection, or their threads would wait for them."""
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_GET(self) -> None:
        if self.is_let_in():
            self._serve(self.registry.fault_for(self.path))

    def is_let_in(self) -> bool:
        """Note the request; answer it here if it is for a token, or has no authorization."""
        authorization = self.headers.get("Authorization", "")
        asked = Asked(self.path, authorization, self.headers.get("Range", ""), self.command)
        self.registry.asked.append(asked)
        if self.path.startswith("/token") and self.registry.token:
            query = parse_qs(urlsplit(self.path).query)
            status, document = self.registry.token(query, authorization)
            self.answer(status, json.dumps(document).encode(), {})
            return False
        refused = self.registry.authorize and self.registry.authorize(self.path, authorization)
        if refused:
            self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}', refused)
        return not refused

    def _serve(self, fault: Fault | None) -> None:
        found = self.registry.find(self.path)
        if fault and fault.body is not None:
            self.answer(fault.status, fault.body, fault.headers or {})
        elif fault and fault.status != 200:
            self.answer(fault.status, b"{}", fault.headers or {})
        elif found is None:
            body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            self.answer(404, body, {})
        else:
            self._found(*found, fault)

    def _found(self, body: bytes, media_type: str, fault: Fault | None) -> None:
        headers = {"Content-Type": media_type, **((fault and fault.headers) or {})}
        asked = self.headers.get("Range", "")
        if asked and self.registry.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.answer(206, body[start:], headers, fault)
        else:
            self.answer(200, body, headers, fault)

    def answer(
        self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None
    ) -> None:
        """Send an answer, as wrong as the fault says."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = fault.cut_after if fault else None
        stall = fault.stall_after if fault else None
        limit = next((value for value in (cut, stall) if value is not None), len(body))
        self.wfile.write(body[:limit])
        self.wfile.flush()
        if stall is not None:
            self.registry.release.wait(20)
        if cut is not None or stall is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
