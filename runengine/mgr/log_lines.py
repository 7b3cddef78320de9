"""Takes log records apart, whole blocks of them at a time. See ``runengine.monitor.logs``.

Every function gets a block of whole records. Records that cannot be read, from a torn file or
from somebody else, are passed over.
"""

from __future__ import annotations

import re
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STAMP_BYTES = 30
_STREAMS = ("stdout", "stderr")


class Piece(NamedTuple):
    """What one record holds: a line, or a part of one."""

    stamp: bytes
    """Fixed width, so that times compare as bytes."""
    stream: str
    text: bytes
    """With its newline, if the line ends here."""


class Format(Protocol):
    """A log format."""

    def runs(self, block: bytes) -> Iterator[tuple[str, bytes]]:
        """Stretches of output of one stream, in order."""
        ...

    def pieces(self, block: bytes) -> Iterator[Piece]:
        """Each record with its time."""
        ...

    def count_lines(self, block: bytes, streams: Collection[str]) -> int:
        """How many lines of these streams end in the block."""
        ...


class Cri:
    """``<30 bytes of time> <stream> F|P <text>``."""

    _kinds = {  # noqa: RUF012
        b" %b %b " % (stream.encode(), tag): (stream, tag == b"F")
        for stream in _STREAMS
        for tag in (b"F", b"P")
    }
    _ends = {  # noqa: RUF012
        stream: re.compile(rb"^.{30} %b F " % stream.encode(), re.MULTILINE)
        for stream in _STREAMS
    }

    def runs(self, block: bytes) -> Iterator[tuple[str, bytes]]:
        """See Format."""
        lines = block.split(b"\n")
        lines.pop()
        kinds = {line[30:40] for line in lines}
        # Mostly everything is whole lines of one stream.
        grouped = groupby(lines, itemgetter(slice(30, 40))) if len(kinds) > 1 else ()
        for kind, run in grouped or zip(kinds, [lines], strict=True):
            if kind in self._kinds:
                stream, whole = self._kinds[kind]
                # The text begins in a fixed column.
                texts = [line[40:] for line in run]
                if whole:
                    texts.append(b"")
                yield stream, (b"\n" if whole else b"").join(texts)

    def pieces(self, block: bytes) -> Iterator[Piece]:
        """See Format."""
        for line in block.split(b"\n"):
            kind = self._kinds.get(line[30:40])
            if kind is not None:
                text = line[40:] + b"\n" if kind[1] else line[40:]
                yield Piece(line[:30], kind[0], text)

    def count_lines(self, block: bytes, streams: Collection[str]) -> int:
        """See Format."""
        return sum(len(self._ends[stream].findall(block)) for stream in streams)


class Json:
    """Docker's ``{"log":"...","stream":"...","attrs":{...},"time":"..."}``."""

    # A quote in the text has a backslash before it, so that this can only be a record's border.
    _border = {  # noqa: RUF012
        stream: re.compile(rb'","stream":"%b",[^\n]*\n\{"log":"' % stream.encode())
        for stream in _STREAMS
    }

    def runs(self, block: bytes) -> Iterator[tuple[str, bytes]]:
        """See Format."""
        for stream in _STREAMS:
            text = self._joined(block, stream)
            if text is not None:
                yield stream, text
                return
        for piece in self.pieces(block):
            yield piece.stream, piece.text

    def _joined(self, block: bytes, stream: str) -> bytes | None:
        """The block's output as one string, if all its records are of ``stream``."""
        import json

        last = block.rfind(b"\n", 0, len(block) - 1) + 1
        end = block.find(b'","stream":"%b",' % stream.encode(), last)
        if end < 0 or not block.startswith(b'{"log":"'):
            return None
        text, borders = self._border[stream].subn(b"", block[8:end])
        if borders != block.count(b"\n") - 1:
            return None
        try:
            return str(json.loads(b'"%b"' % text)).encode(errors="replace")
        except ValueError:
            return None

    def pieces(self, block: bytes) -> Iterator[Piece]:
        """See Format."""
        import json

        try:
            records = json.loads(b"[%b]" % block[:-1].replace(b"\n", b","))
        except ValueError:
            records = _readable(block)
        for record in records:
            piece = _piece(record)
            if piece is not None:
                yield piece

    def count_lines(self, block: bytes, streams: Collection[str]) -> int:
        """See Format."""
        return sum(
            piece.stream in streams and piece.text.endswith(b"\n") for piece in self.pieces(block)
        )


def _readable(block: bytes) -> Iterator[Any]:
    import json

    for line in block.split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _piece(record: Any) -> Piece | None:
    if not isinstance(record, dict):
        return None
    text, stream, stamp = record.get("log"), record.get("stream"), record.get("time")
    if stream not in _STREAMS or not isinstance(text, str) or not isinstance(stamp, str):
        return None
    return Piece(_fixed_width(stamp), stream, text.encode(errors="replace"))


def _fixed_width(stamp: str) -> bytes:
    """Docker cuts trailing zeros off."""
    if len(stamp) != STAMP_BYTES:
        seconds, _, fraction = stamp.removesuffix("Z").partition(".")
        stamp = f"{seconds}.{fraction[:9]:0<9}Z"
    return stamp.encode(errors="replace")


FORMATS: dict[str, Format] = {"cri": Cri(), "json-file": Json()}
