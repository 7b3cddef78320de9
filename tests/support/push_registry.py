"""A registry in a thread that takes pushes, and breaks off, forgets or refuses as told."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.fake_registry import FakeRegistry, Handler
from tests.support.layouts import digest_of

if TYPE_CHECKING:
    from typing import Self

_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>\d*)")


class Break(NamedTuple):
    """The connection ends after so many bytes of a body; of these the registry keeps ``kept``."""

    after: int
    kept: int
    forgets: bool = False


class PushRegistry(FakeRegistry):
    """Keeps what is pushed in ``blobs``, ``tags`` and ``repositories`` (name → digests)."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.repositories: dict[str, set[str]] = {}
        self.uploads: dict[str, bytes] = {}
        self.breaks: list[Break] = []
        """What happens to the next bodies of blobs."""
        self.refuses: dict[str, tuple[int, bytes]] = {}
        """Answers to requests of a method."""
        self.redirects: dict[str, str] = {}
        """Where requests of a method are sent on to (307), once each."""
        self.location = "/v2/{name}/blobs/uploads/{id}?_state=x"
        self.mounts = True
        self.answers_with_range = True

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def handler(self) -> type[Handler]:
        return _Pushes

    def methods(self) -> list[str]:
        """Of the requests so far."""
        return [asked.method for asked in self.asked]


class _Pushes(Handler):
    registry: PushRegistry

    def do_HEAD(self) -> None:  # noqa: N802
        if not self.is_let_in() or self._is_refused():
            return
        name, _, digest = self.path.removeprefix("/v2/").partition("/blobs/")
        has = digest in self.registry.repositories.get(name, set())
        self.answer(200 if has else 404, b"", {})

    def do_GET(self) -> None:  # noqa: N802
        match = _UPLOADS.match(self.path)
        if match is None:
            super().do_GET()
        elif self.is_let_in() and not self._is_refused():
            self._say_where(204, match["name"], match["id"])

    def do_POST(self) -> None:  # noqa: N802
        if not self.is_let_in() or self._is_refused():
            return
        match = _UPLOADS.match(self.path)
        assert match
        query = parse_qs(urlsplit(self.path).query)
        source = self.registry.repositories.get(query.get("from", [""])[0], set())
        digest = query.get("mount", [""])[0]
        if digest in source and self.registry.mounts:
            self._keep(match["name"], digest)
            self.answer(201, b"", {})
            return
        number = str(len(self.registry.asked))
        self.registry.uploads[number] = b""
        self._say_where(202, match["name"], number)

    def do_PATCH(self) -> None:  # noqa: N802
        if not self.is_let_in() or self._is_sent_on() or self._is_refused():
            return
        match = _UPLOADS.match(self.path)
        assert match
        start = int(self.headers["Content-Range"].partition("-")[0])
        if match["id"] not in self.registry.uploads:
            self.answer(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}', {})
        elif start != len(self.registry.uploads[match["id"]]):
            self.answer(416, b"", {})
        elif self._take_body(match["id"]):
            self._say_where(202, match["name"], match["id"])

    def do_PUT(self) -> None:  # noqa: N802
        if not self.is_let_in() or self._is_sent_on():
            return
        if "/manifests/" in self.path:
            self._take_manifest()
            return
        match = _UPLOADS.match(self.path)
        assert match
        if match["id"] not in self.registry.uploads:
            self.answer(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}', {})
        elif self._take_body(match["id"]) and not self._is_refused():
            self._finish(match["name"], self.registry.uploads.pop(match["id"]))

    def _finish(self, name: str, data: bytes) -> None:
        digest = parse_qs(urlsplit(self.path).query)["digest"][0]
        if digest_of(data) != digest:
            said = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest"}]}'
            self.answer(400, said, {"Content-Type": "application/json"})
            return
        self.registry.blobs[digest] = data
        self._keep(name, digest)
        self.answer(201, b"", {"Docker-Content-Digest": digest})

    def _take_manifest(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_refused():
            return
        tag = self.path.rpartition("/")[2]
        digest = self.registry.put(tag, data, self.headers["Content-Type"])
        self.answer(201, b"", {"Docker-Content-Digest": digest})

    def _keep(self, name: str, digest: str) -> None:
        self.registry.repositories.setdefault(name, set()).add(digest)

    def _take_body(self, number: str) -> bool:
        """Whether the whole body came; where it is to break, the connection ends."""
        length = int(self.headers.get("Content-Length", "0"))
        broken = self.registry.breaks.pop(0) if length and self.registry.breaks else None
        if broken is None:
            self.registry.uploads[number] += self.rfile.read(length)
            return True
        data = self.rfile.read(broken.after)
        self.registry.uploads[number] += data[: broken.kept]
        if broken.forgets:
            del self.registry.uploads[number]
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)
        return False

    def _say_where(self, status: int, name: str, number: str) -> None:
        if number not in self.registry.uploads:
            self.answer(404, b"{}", {})
            return
        headers = {"Location": self.registry.location.format(name=name, id=number)}
        if self.registry.answers_with_range:
            headers["Range"] = f"0-{max(len(self.registry.uploads[number]) - 1, 0)}"
        self.answer(status, b"", headers)

    def _is_sent_on(self) -> bool:
        target = self.registry.redirects.pop(self.command, None)
        if target is not None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.answer(307, b"", {"Location": target})
        return target is not None

    def _is_refused(self) -> bool:
        found = self.registry.refuses.get(self.command)
        if found:
            self.answer(*found, {"Content-Type": "application/json"})
        return found is not None
