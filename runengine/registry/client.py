"""Client of one pull: manifests and blobs from mirrors and registries, every byte accounted for.

A client is cheap to make and pickles with its grants and without its connections, so each
download worker has its own. Nothing here is imported before the first request but this module.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from runengine.config import CERTS_DIRECTORIES
from runengine.errors import (
    Corrupt,
    EngineError,
    InvalidParameter,
    NotFound,
    Unauthorized,
    Unavailable,
)
from runengine.ids import Digest, is_digest
from runengine.oci_spec import media_types
from runengine.registry import auth, mirrors, patience
from runengine.registry.certificates import Certificates
from runengine.registry.credentials import AuthFiles, GivenCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

    import requests

    from runengine.registry import transport
    from runengine.registry.credentials import Credentials, CredentialSource
    from runengine.registry.mirrors import Endpoint
    from runengine.registry.reference import Reference

MANIFEST_LIMIT_BYTES = 4 << 20
CHUNK_BYTES = 512 << 10
TIMEOUT_S = 30.0
RETRY_PAUSES_S = (0.3, 1.0)
_Result = TypeVar("_Result")


class Manifest(NamedTuple):
    """A manifest or an index as the registry sent it; ``digest`` is that of ``data``."""

    media_type: str
    digest: Digest
    data: bytes


class BlobDescriptor(Protocol):
    """The part of a descriptor that a download needs."""

    @property
    def digest(self) -> Digest:
        """``sha256:<hex>``."""

    @property
    def size(self) -> int:
        """Bytes."""


class RegistryClient:
    """Reads images from registries. Not for several threads at once; see the module's text."""

    def __init__(
        self,
        *,
        insecure: Sequence[str] = (),
        mirrors: Mapping[str, Sequence[str]] | None = None,
        credentials: CredentialSource | None = None,
        certs_dirs: Sequence[str] = CERTS_DIRECTORIES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """``timeout_s`` bounds each wait for the network, not the whole transfer."""
        self._insecure = tuple(insecure)
        self._certs = Certificates(certs_dirs)
        self._mirrors = dict(mirrors or {})
        self._timeout_s = timeout_s
        self._grants = auth.Grants(credentials or AuthFiles())
        self._schemes: dict[str, str] = {}
        self._served_by: dict[str, str] = {}
        self._distrusted: set[str] = set()
        self._registries: dict[Endpoint, transport.Registry] = {}
        self._registries_pid = 0
        self.notices: list[str] = []
        """What the operator should hear about: mirrors that failed."""

    @staticmethod
    def given(registry: str, credentials: Credentials) -> CredentialSource:
        """A source for credentials that the user gave for ``registry``."""
        return GivenCredentials(registry, credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_registries": {}, "notices": []}

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._registries_pid == os.getpid():
            for registry in self._registries.values():
                registry.close()
        self._registries = {}

    def explain(self, ref: Reference) -> list[Endpoint]:
        """The endpoints that are asked for ``ref``, in order."""
        return mirrors.resolve(
            ref,
            mirrors=self._mirrors,
            insecure=self._insecure,
            certified=self._certs.has_authority,
        )

    def manifest(self, ref: Reference) -> Manifest:
        """Fetch a manifest or an index by tag or digest; the digest is verified.

        Raises NotFound, Unauthorized, Unavailable, Corrupt.
        """
        wanted = ref.digest or ref.tag
        if wanted is None:
            raise InvalidParameter(f"reference {ref} has neither tag nor digest")
        return self._first(ref, lambda endpoint: self._manifest_from(endpoint, ref, wanted))

    def tags(self, ref: Reference) -> list[str]:
        """All tags of the repository, in the registry's order.

        Raises NotFound, Unauthorized, Unavailable, Corrupt.
        """
        return self._first(ref, lambda endpoint: self._tags_from(endpoint, ref))

    def blob(
        self, ref: Reference, descriptor: BlobDescriptor, *, offset: int = 0, verify: bool = True
    ) -> BlobStream:
        """Open a blob from byte ``offset`` on; the size is always checked.

        The digest is checked too if ``verify`` and the stream begins at 0; else that is the
        caller's (``BlobWriter`` does it). Raises NotFound, Unauthorized, Unavailable, Corrupt.
        """
        return self._first(
            ref,
            lambda endpoint: self._blob_from(
                endpoint, descriptor, offset, verify=verify and not offset
            ),
        )

    def _first(self, ref: Reference, attempt: Callable[[Endpoint], _Result]) -> _Result:
        """The first answer, from the host that served the last one if any; failures are noted.

        Raises the registry's own error if no endpoint answers well.
        """
        served_by = self._served_by.get(ref.name)
        usable = (one for one in self.explain(ref) if one.describe() not in self._distrusted)
        endpoints = sorted(usable, key=lambda endpoint: endpoint.host != served_by)
        failure: EngineError | None = None
        for endpoint in endpoints:
            try:
                result = attempt(endpoint)
            except (NotFound, Unauthorized, Unavailable, Corrupt) as error:
                if endpoint.is_mirror:
                    self.notices.append(f"{endpoint.describe()} failed: {error}")
                else:
                    failure = error
                continue
            self._served_by[ref.name] = endpoint.host
            return result
        raise failure or AssertionError("the registry itself is among the endpoints")

    def distrust(self, ref: Reference, why: object) -> bool:
        """What came last for ``ref`` is wrong: if a mirror sent it, ask that no more.

        Whether it was one, and so another try may help.
        """
        served_by = self._served_by.get(ref.name)
        for endpoint in self.explain(ref):
            text = endpoint.describe()
            if endpoint.is_mirror and endpoint.host == served_by and text not in self._distrusted:
                self._distrusted.add(text)
                self.notices.append(f"{text} failed: {why}")
                return True
        return False

    def _manifest_from(self, endpoint: Endpoint, ref: Reference, wanted: str) -> Manifest:
        import hashlib

        path = f"/v2/{endpoint.repository}/manifests/{wanted}"
        headers = {"Accept": ", ".join((*media_types.ACCEPTED, *sorted(media_types.SCHEMA_1)))}
        response = self._get(endpoint, path, headers, f"manifest for {ref}")
        try:
            data = self._read(response, MANIFEST_LIMIT_BYTES, f"manifest for {ref}", endpoint)
        finally:
            response.close()
        digest = Digest("sha256:" + hashlib.sha256(data).hexdigest())
        announced = response.headers.get("Docker-Content-Digest", "")
        for expected in (wanted, announced):
            if is_digest(expected) and expected != digest:
                raise Corrupt(
                    f"manifest for {ref} has the wrong content",
                    details=f"{endpoint.host} sent {digest} instead of {expected}",
                )
        media_type = response.headers.get("Content-Type", "")
        if endpoint.is_mirror:
            from runengine.oci_spec import image

            # One that answers with something else is passed over, as one that is away.
            image.check_document(data, media_type, name=f"manifest {digest} of {ref}")
        return Manifest(media_type, digest, data)

    def _tags_from(self, endpoint: Endpoint, ref: Reference) -> list[str]:
        from runengine.registry import tags

        name = f"list of the tags of {ref.familiar_name}"

        def page(path: str) -> tuple[bytes, str]:
            response = self._get(endpoint, path, {}, name)
            try:
                data = self._read(response, tags.PAGE_LIMIT_BYTES, name, endpoint)
            finally:
                response.close()
            return data, response.headers.get("Link", "")

        return tags.collect(endpoint.repository, page)

    def _blob_from(
        self, endpoint: Endpoint, descriptor: BlobDescriptor, offset: int, *, verify: bool
    ) -> BlobStream:
        if not is_digest(descriptor.digest) or not 0 <= offset <= descriptor.size:
            raise InvalidParameter(f"no byte {offset} in blob {descriptor.digest}")
        name = f"blob {descriptor.digest}"
        headers = {"Range": f"bytes={offset}-"} if 0 < offset < descriptor.size else {}
        path = f"/v2/{endpoint.repository}/blobs/{descriptor.digest}"
        response = self._get(endpoint, path, headers, name)
        try:
            return BlobStream(response, descriptor, offset, endpoint.host, verify=verify)
        except BaseException:
            response.close()
            raise

    def _get(
        self, endpoint: Endpoint, path: str, headers: dict[str, str], name: str
    ) -> requests.Response:
        """A successful answer, authorised as far as needed; a busy server is asked again."""
        for pause_s in (*RETRY_PAUSES_S, None):
            response = self._send(endpoint, path, headers)
            if response.status_code in (200, 206):
                return response
            if pause_s is None or endpoint.is_mirror:
                break
            wait_s = patience.wait_s(response.status_code, response.headers, pause_s)
            if wait_s is None:
                break
            response.close()
            time.sleep(wait_s)
        raise self._refusal(response, endpoint, name)

    def _send(
        self,
        endpoint: Endpoint,
        path: str,
        headers: dict[str, str],
        method: str = "GET",
        body: Any = None,
        *,
        timeout_s: float | None = None,
    ) -> requests.Response:
        """One answer, authorised as far as needed, over the scheme that the host speaks."""
        from runengine.registry import answers

        registry = self._open(endpoint)
        host = endpoint.host
        known = self._schemes.get(host)
        failure: EngineError | None = None
        for scheme in (known,) if known else endpoint.schemes:
            try:
                response = registry.send(
                    method, scheme, path, headers, body, timeout_s=timeout_s
                )
            except answers.TransportError as error:
                failure = failure or answers.explain(error, f"registry {host}", host)
                if registry.has_answered or not self._may_try_other(error, scheme, host):
                    break
            except answers.SchemeMismatch as error:
                failure = failure or error
            else:
                self._schemes[host] = scheme
                return response
        raise failure or AssertionError("an endpoint has a scheme")

    @staticmethod
    def _may_try_other(error: BaseException, scheme: str, host: str) -> bool:
        """Another scheme helps on a mismatch; without a port in the name also on a refusal."""
        from runengine.registry import answers

        return answers.is_scheme_mismatch(error, scheme) or ":" not in host

    def _read(
        self, response: requests.Response, limit: int, name: str, endpoint: Endpoint
    ) -> bytes:
        from runengine.registry import answers

        try:
            return answers.read_limited(response, limit, name)
        except answers.TransportError as error:
            host = endpoint.host
            raise answers.explain(error, f"registry {host}", host) from error

    def _refusal(
        self, response: requests.Response, endpoint: Endpoint, name: str
    ) -> EngineError:
        from runengine.registry import answers

        status = response.status_code
        body = answers.error_body(response)
        said = error_text(body)
        if status in auth.REFUSED:
            return self._grants.refusal(endpoint, said)
        if status == 404:
            return _not_found(endpoint, name, body, said)
        if status == patience.TOO_MANY:
            wait_s = patience.retry_after_s(response.headers)
            wait = "wait" if wait_s is None else f"wait {wait_s:.0f} seconds"
            return Unavailable(
                f"registry {endpoint.host} allows no more requests for now",
                details=said,
                resolution=f"{wait}, or use credentials or a mirror",
            )
        if status == 416:
            return Corrupt(f"{name} is shorter at {endpoint.host} than its size says")
        return Unavailable(f"registry {endpoint.host} answered {status} to {name}", details=said)

    def _verifies_tls(self, host: str) -> bool:
        return not self._trust.is_lenient(host)

    @property
    def _trust(self) -> mirrors.Trust:
        return mirrors.Trust(self._insecure, self._certs.has_authority)

    def _open(self, endpoint: Endpoint) -> transport.Registry:
        """This process's way to an endpoint: connections must not be shared over a fork."""
        from runengine.registry import transport

        if self._registries_pid != os.getpid():
            self._registries, self._registries_pid = {}, os.getpid()
        if endpoint not in self._registries:
            self._registries[endpoint] = transport.Registry(
                endpoint,
                self._grants,
                verifies_tls=self._verifies_tls,
                timeout_s=self._timeout_s,
                certs=self._certs,
            )
        return self._registries[endpoint]


class BlobStream:
    """The rest of a blob, undecoded; reads in large pieces. A context manager and an iterator."""

    def __init__(
        self,
        response: requests.Response,
        descriptor: BlobDescriptor,
        offset: int,
        host: str,
        *,
        verify: bool,
    ) -> None:
        import hashlib

        self.digest = descriptor.digest
        self.size = descriptor.size
        self.position = offset
        self._host = host
        self._response = response
        self._raw = response.raw
        self._hash = hashlib.sha256() if verify else None
        self._is_ended = False
        self._skip_bytes = self._bytes_to_skip(response, offset)

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def close(self) -> None:
        """Give the connection back, or drop it if there is more to come."""
        self._response.close()

    def read(self, count: int = CHUNK_BYTES) -> bytes:
        """Up to ``count`` bytes (all that is left if negative), ``b""`` at the end.

        Raises Unavailable where the transfer stalls or breaks off, Corrupt where there is more
        than the blob's size or the digest is another.
        """
        while self._skip_bytes:
            self._skip_bytes -= len(self._take(min(self._skip_bytes, CHUNK_BYTES)))
        left = self.size - self.position
        if not left:
            self._finish()
            return b""
        data = self._take(left if count < 0 else min(count, left))
        self.position += len(data)
        if self._hash:
            self._hash.update(data)
        if self.position == self.size:
            self._finish()
        return data

    def _bytes_to_skip(self, response: requests.Response, offset: int) -> int:
        """A server that ignores Range sends all of it; what it announces must fit our size."""
        if response.status_code == 206:
            start = response.headers.get("Content-Range", "").removeprefix("bytes ")
            if start.partition("-")[0] != str(offset):
                raise Unavailable(f"registry {self._host} sent another range than asked for")
            skip = 0
        else:
            skip = offset
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) != self.size - offset + skip:
            raise Corrupt(
                f"blob {self.digest} has the wrong size",
                details=f"{self._host} announces {int(announced) + offset - skip} bytes "
                f"instead of {self.size}",
            )
        return skip

    def _take(self, count: int) -> bytes:
        """At least one byte, if ``count`` is not 0."""
        if not count:
            return b""
        data = self._read_raw(count)
        if not data:
            raise Unavailable(
                f"registry {self._host} broke off blob {self.digest} "
                f"after {self.position} of {self.size} bytes"
            )
        return data

    def _read_raw(self, count: int) -> bytes:
        from runengine.registry import answers

        try:
            return bytes(self._raw.read(count, decode_content=False))
        except answers.TransportError as error:
            raise answers.explain(error, f"registry {self._host}", self._host) from error

    def _finish(self) -> None:
        """At the end: nothing may follow, and the digest must be right."""
        if self._is_ended:
            return
        self._is_ended = True
        if self._read_raw(1):
            raise Corrupt(f"blob {self.digest} is longer than its size of {self.size} bytes")
        if self._hash and f"sha256:{self._hash.hexdigest()}" != self.digest:
            raise Corrupt(
                f"blob {self.digest} has the wrong content",
                details=f"{self._host} sent sha256:{self._hash.hexdigest()}",
            )


def _not_found(endpoint: Endpoint, name: str, body: bytes, said: str | None) -> NotFound:
    if b"NAME_UNKNOWN" in body:
        return NotFound(f"repository {endpoint.host}/{endpoint.repository} not found: no {name}")
    if said is None:
        return NotFound(
            f"{name} not found at {endpoint.host}",
            details="its answer is not a registry's",
            resolution="check that the host is a registry",
        )
    return NotFound(f"{name} not found at {endpoint.host}", resolution="check name and tag")


def error_text(body: bytes) -> str | None:
    """The first message of a registry's error document, safe for a terminal; else None."""
    import json

    try:
        first = json.loads(body)["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    return "".join(char for char in text if char.isprintable())[:200]
