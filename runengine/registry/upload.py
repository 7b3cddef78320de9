"""Bringing blobs and manifests to a registry (distribution spec, push); what is there is not sent.

A blob goes in one request. After a break the registry is asked how much it has, and the rest
follows in chunks: registries differ in what they keep of a request that broke off, but every chunk
that was answered is kept.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from runengine.errors import (
    Corrupt,
    EngineError,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from runengine.registry import auth
from runengine.registry.client import RETRY_PAUSES_S, RegistryClient, error_text
from runengine.registry.credentials import AuthFiles
from runengine.registry.patience import BUSY, backoff_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import requests

    from runengine.registry.credentials import CredentialSource
    from runengine.registry.mirrors import Endpoint
    from runengine.registry.reference import Reference

SEND_BYTES = 1 << 20
CHUNK_BYTES = 32 << 20
"""What a second break in a row may lose."""
COMMIT_TIMEOUT_S = 600.0
"""A registry hashes a blob, or copies it, before it answers."""
ATTEMPTS = 4
"""Attempts in a row that brought nothing before an upload is given up."""
INTERRUPTIONS_LIMIT = 200
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_OCTETS = {"Content-Type": "application/octet-stream"}


class ChunkRefused(Exception):
    """The registry does not take this chunk, whatever for: it may take the whole."""


class Blob(NamedTuple):
    """A blob in a file."""

    digest: str
    size: int
    path: str


class Session:
    """An upload that the registry has opened: where the next request goes, and what it has."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.offset = 0
        self.in_chunks = False


class FilePart:
    """Bytes of a file as a request's body, which may have to be sent again from its beginning."""

    def __init__(
        self, path: str, start: int, end: int, sent: Callable[[int], None] | None = None
    ) -> None:
        self._path, self._start, self._end = path, start, end
        self._sent = sent

    def __len__(self) -> int:
        return self._end - self._start

    def __iter__(self) -> Iterator[bytes]:
        position = self._start
        with Path(self._path).open("rb", buffering=0) as file:
            file.seek(position)
            while position < self._end:
                data = file.read(min(SEND_BYTES, self._end - position))
                if not data:
                    raise Corrupt(f"{self._path} is shorter than its size of {self._end} bytes")
                yield data
                position += len(data)
                if self._sent:
                    self._sent(position)


class UploadClient(RegistryClient):
    """Writes one repository, and may read those of ``sources`` to take blobs from them.

    Mirrors have no part in it. As its parent it is for one thread and goes over a fork.
    """

    def __init__(
        self,
        ref: Reference,
        *,
        sources: Sequence[str] = (),
        credentials: CredentialSource | None = None,
        **options: Any,
    ) -> None:
        super().__init__(credentials=credentials, **options)
        source = credentials or AuthFiles()
        self._grants = auth.Grants(source, actions=auth.PUSH, also=sources)
        self.endpoint = self.explain(ref)[-1]

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has the blob. Raises Unauthorized, Unavailable."""
        path = f"{self._blobs}/{digest}"
        response = self._ask("HEAD", path, f"blob {digest}", accepted=(200, 404))
        return response.status_code == 200

    def mount(self, digest: str, source: str) -> Session | None:
        """Take the blob from another repository of the registry.

        None when that is done; else the upload that was opened instead, if the registry will not.
        """
        path = f"{self._blobs}/uploads/?mount={digest}&from={source}"
        response = self._ask("POST", path, f"blob {digest}", accepted=(201, 202))
        return None if response.status_code == 201 else self._opened(response)

    def upload(
        self,
        blob: Blob,
        report: Callable[[int], None] | None = None,
        session: Session | None = None,
    ) -> None:
        """Send the blob, going on after each interruption; ``report`` gets the bytes sent.

        Raises Unauthorized, Unavailable, Corrupt (the registry finds another digest), EngineError.
        """
        idle, in_chunks, takes_chunks = 0, False, True
        for _ in range(INTERRUPTIONS_LIMIT):
            before = session.offset if session else 0
            try:
                session = session or self._begin(blob)
                session.in_chunks = in_chunks
                self._send_rest(blob, session, report)
                return
            except Unavailable:
                session = self._found_again(blob, session) if takes_chunks else None
                in_chunks = takes_chunks
                idle = 0 if session and session.offset > before else idle + 1
                if idle >= ATTEMPTS:
                    raise
                time.sleep(backoff_s(idle))
            except ChunkRefused:
                # Some registries take a blob in one request and in no other way.
                session, in_chunks, takes_chunks = None, False, False
        raise Unavailable(f"blob {blob.digest} was interrupted {INTERRUPTIONS_LIMIT} times")

    def put_manifest(self, reference: str, media_type: str, data: bytes, digest: str) -> None:
        """Store a manifest or an index under a tag, or its digest.

        Raises Unauthorized, Unavailable, Corrupt, EngineError (such as a blob that is missing).
        """
        path = f"/v2/{self.endpoint.repository}/manifests/{reference}"
        name = f"manifest {reference} of {self.endpoint.repository}"
        headers = {"Content-Type": media_type}
        response = self._ask("PUT", path, name, headers, data, accepted=(200, 201, 202))
        self._check_digest(response, digest, name)

    @property
    def _blobs(self) -> str:
        return f"/v2/{self.endpoint.repository}/blobs"

    def _begin(self, blob: Blob) -> Session:
        path = f"{self._blobs}/uploads/"
        response = self._ask("POST", path, f"blob {blob.digest}", accepted=(202,))
        return self._opened(response)

    def _opened(self, response: requests.Response) -> Session:
        return Session(self._location(response))

    def _location(self, response: requests.Response) -> str:
        """Where to go on: a path at the registry, or the address of another host."""
        location = response.headers.get("Location", "")
        if not location:
            raise Unavailable(f"registry {self.endpoint.host} does not say where to upload to")
        refusal = f"registry {self.endpoint.host} sends uploads to {location[:80]!r}"
        try:
            # Of who answered: that may be where a redirect led to.
            found = urlsplit(urljoin(response.url, location))
        except ValueError:
            raise Corrupt(refusal) from None
        if found.scheme not in ("http", "https") or not found.netloc:
            raise Corrupt(refusal)
        if found.netloc.lower() == self.endpoint.host:
            # Behind a TLS proxy some registries take themselves to speak plain HTTP.
            return found._replace(scheme="", netloc="", fragment="").geturl()
        if found.scheme != "https" and self.endpoint.verify_tls:
            raise Unavailable(
                f"registry {self.endpoint.host} wants blobs sent to {found.netloc} unencrypted",
                resolution="refused; list the registry under insecure_registries to allow it",
            )
        return found._replace(fragment="").geturl()

    def _send_rest(
        self, blob: Blob, session: Session, report: Callable[[int], None] | None
    ) -> None:
        name = f"blob {blob.digest}"
        body: FilePart | bytes = b""
        if session.in_chunks:
            while session.offset < blob.size:
                self._send_chunk(blob, session, report)
        elif blob.size:
            body = FilePart(blob.path, 0, blob.size, report)
        mark = "&" if "?" in session.location else "?"
        target = f"{session.location}{mark}digest={blob.digest}"
        response = self._ask(
            "PUT", target, name, _OCTETS, body, accepted=(201, 204), is_busy_final=True
        )
        self._check_digest(response, blob.digest, name)

    def _send_chunk(
        self, blob: Blob, session: Session, report: Callable[[int], None] | None
    ) -> None:
        start, end = session.offset, min(session.offset + CHUNK_BYTES, blob.size)
        headers = {**_OCTETS, "Content-Range": f"{start}-{end - 1}"}
        body = FilePart(blob.path, start, end, report)
        name = f"blob {blob.digest}"
        try:
            response = self._ask(
                "PATCH", session.location, name, headers, body, accepted=(202,), is_busy_final=True
            )
        except (Unavailable, Unauthorized, Corrupt):
            raise
        except EngineError as error:
            raise ChunkRefused from error
        session.location = self._location(response)
        session.offset = _received(response) or end

    def _found_again(self, blob: Blob, session: Session | None) -> Session | None:
        """The upload with what the registry has of it; None if it knows nothing of it."""
        if session is None:
            return None
        try:
            response = self._ask(
                "GET", session.location, f"blob {blob.digest}", accepted=(200, 204)
            )
        except EngineError:
            return None
        session.offset = min(_received(response), blob.size)
        if response.headers.get("Location"):
            session.location = self._location(response)
        return session

    def _ask(
        self,
        method: str,
        target: str,
        name: str,
        headers: dict[str, str] | None = None,
        body: FilePart | bytes | None = None,
        *,
        accepted: Sequence[int],
        is_busy_final: bool = False,
    ) -> requests.Response:
        """An answer among those ``accepted``, without its body; a busy registry is asked again."""
        from runengine.registry import answers

        timeout_s = COMMIT_TIMEOUT_S if method == "PUT" else None
        pauses = (None,) if is_busy_final else (*RETRY_PAUSES_S, None)
        for pause_s in pauses:
            response = self._send_to(target, headers or {}, method, body, timeout_s)
            if response.status_code in accepted:
                answers.release(response)
                return response
            if response.status_code not in BUSY or pause_s is None:
                break
            response.close()
            time.sleep(pause_s)
        raise self._refusal(response, self.endpoint, name)

    def _send_to(
        self,
        target: str,
        headers: dict[str, str],
        method: str,
        body: FilePart | bytes | None,
        timeout_s: float | None,
    ) -> requests.Response:
        if target.startswith("/"):
            return self._send(self.endpoint, target, headers, method, body, timeout_s=timeout_s)
        from runengine.registry import answers

        host = urlsplit(target).netloc
        try:
            return self._open(self.endpoint).send_elsewhere(
                method,
                target,
                headers,
                body,
                verify=self._verifies_tls(host),
                timeout_s=timeout_s,
            )
        except answers.TransportError as error:
            raise answers.explain(error, f"storage {host}", host) from error

    def _check_digest(self, response: requests.Response, digest: str, name: str) -> None:
        announced = response.headers.get("Docker-Content-Digest", digest)
        if announced != digest:
            raise Corrupt(f"registry {self.endpoint.host} stored {name} as {announced[:80]}")

    def _refusal(
        self, response: requests.Response, endpoint: Endpoint, name: str
    ) -> EngineError:
        """Answers that have to do with writing, and that no further attempt will change."""
        from runengine.registry import answers

        status = response.status_code
        if not 400 <= status < 500 or status in (401, 403, 404, 408, 429):
            return super()._refusal(response, endpoint, name)
        body = answers.error_body(response)
        said = error_text(body)
        if status == 405:
            return Unsupported(f"registry {endpoint.host} takes no pushes", details=said)
        if b"DIGEST_INVALID" in body:
            return Corrupt(
                f"registry {endpoint.host} refused {name}",
                details=said,
                resolution="it is damaged here: pull or load the image again",
            )
        if b"BLOB_UNKNOWN" in body:
            return NotFound(f"registry {endpoint.host} refused {name}", details=said)
        return EngineError(
            f"registry {endpoint.host} refused {name} with status {status}", details=said
        )


def _received(response: requests.Response) -> int:
    """How many bytes the registry says that it has; ``0-0`` may mean none, so it does."""
    match = _RANGE.fullmatch(response.headers.get("Range", ""))
    last = int(match[1]) if match else 0
    return last + 1 if last else 0
