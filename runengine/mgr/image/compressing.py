"""Compressing layers that are stored as plain tars: one layer gives the same bytes each time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter
from runengine.registry.incoming import IncomingBlob

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.ids import Digest
    from runengine.mgr.image.context import ImageContext

READ_BYTES = 1 << 20
_GZIP_WINDOW = 31  # the largest, and gzip's header: without name and time, so always the same
_FAST_LEVEL = 2
_LEVELS = {"gzip": (1, 9), "zstd": (1, 22)}


class Compression(NamedTuple):
    """How to compress; without a level the one that costs little and gains most of it."""

    format: str = "gzip"
    level: int | None = None

    @property
    def suffix(self) -> str:
        """What follows the media type of a plain OCI layer."""
        return f"+{self.format}"


def chosen(form: str | None, level: int | None) -> Compression:
    """The compression that these options ask for. Raises InvalidParameter."""
    name = form or "gzip"
    if name not in _LEVELS:
        raise InvalidParameter(
            f"unknown compression format {name!r}", resolution="gzip or zstd"
        )
    low, high = _LEVELS[name]
    if level is not None and not low <= level <= high:
        raise InvalidParameter(f"compression level {level} of {name} is not in {low} to {high}")
    return Compression(name, level)


def compress(
    context: ImageContext, digest: str, how: Compression, done: Callable[[int], None]
) -> tuple[Digest, int]:
    """Store a plain blob compressed as well: the new blob's digest and size.

    ``done`` gets the bytes read so far. Raises NotFound, OSError.
    """
    compressor = _compressor(how)
    with context.content.open(digest) as source, IncomingBlob(context.content) as blob:
        while data := source.read(READ_BYTES):
            blob.write(compressor.compress(data))
            done(source.tell())
        blob.write(compressor.flush())
        size = blob.offset
        return blob.commit(), size


def _compressor(how: Compression) -> Any:
    if how.format == "zstd":
        import zstandard

        # With threads, however many, the result is another than without: so always with.
        return zstandard.ZstdCompressor(
            level=how.level or 3, threads=max(os.cpu_count() or 1, 1), write_checksum=True
        ).compressobj()
    if how.level is None:
        from isal import isal_zlib

        return isal_zlib.compressobj(_FAST_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    import zlib

    return zlib.compressobj(how.level, zlib.DEFLATED, _GZIP_WINDOW)
