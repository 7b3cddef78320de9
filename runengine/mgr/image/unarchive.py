"""The first half of ``load``: an archive's members taken in as they come, in any order.

What a member is for is only known once the manifest has been read, which may come last. So small
JSON files are kept in memory, whatever can be unpacked is a layer, and the rest is passed over;
links are remembered. A member that could not be read is an error only if an image needs it.
"""

from __future__ import annotations

import hashlib
import re
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from runengine.errors import Corrupt, EngineError, InvalidParameter
from runengine.ids import Digest, short
from runengine.mgr.image.archive import COMPRESSED, REPACKED, decompressor
from runengine.mgr.image.intake import Taken, take_layer
from runengine.registry.incoming import IncomingBlob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.image.archive import Member
    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress

DOCUMENT_LIMIT_BYTES = 16 << 20
DOCUMENTS_LIMIT_BYTES = 64 << 20
MEMBERS_LIMIT = 100_000
LINK_DEPTH_LIMIT = 8
SMALLEST_TAR_BYTES = 512
_BLOB = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})")
"""A name that says what is in it: in an OCI layout, in skopeo's ``dir:``."""


class Members(Protocol):
    """An archive, or what stands for one: its members in turn, and the content of each."""

    def __iter__(self) -> Iterator[Member]:
        """Every file and link."""

    def chunks(self) -> Iterator[bytes]:
        """What is left of the current member's content."""

    def read(self) -> bytes:
        """The same in one piece."""

    def check_intact(self) -> None:
        """Raise Corrupt if not only one of the members could not be read."""


class Unarchived:
    """What was in an archive."""

    def __init__(self, context: ImageContext, progress: Progress) -> None:
        self._context = context
        self._progress = progress
        self._documents: dict[str, bytes] = {}
        self._documents_bytes = 0
        self._layers: dict[str, Taken] = {}
        self._refused: dict[str, EngineError] = {}
        self._links: dict[str, str] = {}

    def read(self, archive: Members) -> None:
        """Take in everything. Raises Corrupt for a damaged archive, EngineError (disk)."""
        for count, member in enumerate(archive):
            if count >= MEMBERS_LIMIT:
                raise Corrupt(f"the archive has more than {MEMBERS_LIMIT} members")
            if member.target is not None:
                self._links[member.name] = member.target
            elif member.is_file and member.size:
                self._take(archive, member)

    def document(self, name: str) -> bytes:
        """The JSON file of that name. Raises Corrupt if it is not there or not usable."""
        name = self._followed(name)
        if name not in self._documents:
            raise self._missing(name)
        return self._documents[name]

    def has_document(self, name: str) -> bool:
        """Whether there is a JSON file of that name."""
        return self._followed(name) in self._documents

    def layer(self, name: str) -> Taken:
        """The layer of that name. Raises Corrupt if it is not there or not usable."""
        name = self._followed(name)
        if name not in self._layers:
            raise self._missing(name)
        return self._layers[name]

    def _missing(self, name: str) -> EngineError:
        shown = name[:200]
        if name in self._refused:
            cause = self._refused[name]
            return type(cause)(
                f"{shown} in the archive cannot be used: {cause.brief}",
                details=cause.details,
                resolution=cause.resolution,
            )
        return Corrupt(f"the archive has no {shown}", resolution="it may be truncated")

    def _followed(self, name: str) -> str:
        for _ in range(LINK_DEPTH_LIMIT):
            if name not in self._links:
                return name
            name = self._links[name]
        raise Corrupt(f"the archive's link {name[:200]} leads nowhere")

    def _take(self, archive: Members, member: Member) -> None:
        chunks = archive.chunks()
        first = next(chunks)
        start = first.lstrip()[:1]
        try:
            if start in (b"{", b"["):
                self._take_document(member, archive, first)
            elif _may_be_layer(member, first):
                self._take_blob(member, chain((first,), chunks), first)
        except (Corrupt, InvalidParameter) as error:
            archive.check_intact()
            self._refused[member.name] = error

    def _take_document(self, member: Member, archive: Members, first: bytes) -> None:
        if member.size > DOCUMENT_LIMIT_BYTES:
            raise Corrupt(f"a document of {member.size} bytes, more than {DOCUMENT_LIMIT_BYTES}")
        self._documents_bytes += member.size
        if self._documents_bytes > DOCUMENTS_LIMIT_BYTES:
            raise Corrupt(f"the archive's documents have more than {DOCUMENTS_LIMIT_BYTES} bytes")
        data = first + archive.read()
        match = _BLOB.fullmatch(member.name)
        if match and hashlib.sha256(data).hexdigest() != match[1]:
            raise Corrupt("its content does not have the digest of its name")
        self._documents[member.name] = data

    def _take_blob(self, member: Member, chunks: Iterator[bytes], first: bytes) -> None:
        match = _BLOB.fullmatch(member.name)
        if match:
            self._layers[member.name] = self._take_named(
                member, chunks, Digest(f"sha256:{match[1]}")
            )
            return
        if first.startswith(REPACKED):
            chunks = decompressor(chunks)
        with IncomingBlob(self._context.content) as blob:
            taken = take_layer(self._context, chunks, blob, self._reporter(member))
        self._layers[member.name] = taken

    def _take_named(self, member: Member, chunks: Iterator[bytes], digest: Digest) -> Taken:
        with self._context.content.writer(digest, member.size) as blob:
            if blob.is_complete:
                return Taken(digest, member.size, None)
            try:
                blob.restart()
                return take_layer(self._context, chunks, blob, self._reporter(member))
            except BaseException:
                blob.discard()
                raise

    def _reporter(self, member: Member) -> _Reporter:
        return _Reporter(self._progress, member)


class _Reporter:
    """Progress of one layer, now and then."""

    STEP_BYTES = 4 << 20

    def __init__(self, progress: Progress, member: Member) -> None:
        self._progress = progress
        self._key = short(member.name.removesuffix("/layer.tar").rpartition("/")[2])
        self._total = member.size
        self._next = 0

    def __call__(self, done: int) -> None:
        if done >= min(self._next, self._total):
            self._next = done + self.STEP_BYTES
            self._progress.layer(self._key, "Loading layer", min(done, self._total), self._total)


def _may_be_layer(member: Member, first: bytes) -> bool:
    return first.startswith(COMPRESSED) or member.size >= SMALLEST_TAR_BYTES
