"""Reads a layer's archive as a stream: tarsafe's reader and name rules, made fit for layers.

Kept of tarsafe: names and targets of hard links must stay inside. Changed: targets of symbolic
links are data of the image, devices are allowed, absolute names count from the root of the image
as every engine reads them, nothing is looked up by name, no member is kept in memory, and the
archive is read once from front to back.
"""

from __future__ import annotations

import tarfile
from array import array
from typing import TYPE_CHECKING

from tarsafe import TarSafe

from runengine.errors import Corrupt, InvalidParameter
from runengine.rootfs import pax, tarheader
from runengine.rootfs.tarheader import BLOCK, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.rootfs.stream import LayerStream

MAX_NAME_BYTES = 1 << 16
_ROOT = "/layer"
"""Stands for the image's root in tarsafe's checks, which only compare names."""
_EXTENDED = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_LONG = frozenset({tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK})
_KNOWN = frozenset(
    {
        *tarfile.REGULAR_TYPES,
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
    }
)
_VOLUME_LABEL = b"V"


class LayerReader(TarSafe):  # type: ignore[misc]
    """Iterate over it for the members; their data is next in the stream.

    Names come out relative to the root, without dots or doubled slashes; '' is the root. Raises
    Corrupt for a damaged archive, InvalidParameter for a name that leads out of the image.
    """

    def __init__(self, stream: LayerStream) -> None:
        self.layer = stream
        self._global: dict[str, bytes] = {}
        self._data_end = 0
        self._last = ""
        try:
            super().__init__(fileobj=stream, mode="r", tarinfo=Member)
        except FileNotFoundError:
            if self.closed:
                raise
            # All is set up; tarsafe then asks for the working directory, which is gone.
            self.directory = _ROOT

    def __iter__(self) -> Iterator[Member]:
        member = self.firstmember
        while member is not None:
            yield member
            member = self.next()

    def next(self) -> Member | None:
        """The next member, or None after the last; the rest of the stream is then read, too."""
        if not self.layer.skip_to(self._data_end):
            raise Corrupt(f"the layer ends within {self._last!r}")
        if self._data_end % BLOCK:
            # Some writers (umoci) leave out the last member's padding; then this is the end.
            self.layer.skip_to(self._data_end + -self._data_end % BLOCK)
        member = self._read_member()
        if member is None:
            self._drain()
            return None
        self._data_end = self.layer.tell() + member.stored
        self._last = member.name
        return member

    def _read_member(self) -> Member | None:
        """Read a header with the extended ones before it."""
        prelude = _Prelude(self._global)
        while True:
            block = self._read_block(prelude)
            if block is None:
                return None
            try:
                member = Member.parse(block)
                if self._take_prelude(member, prelude):
                    continue
                self._complete(member, block, prelude)
            except ValueError as error:
                raise self._malformed(error) from error
            return member

    def _malformed(self, error: ValueError) -> Corrupt:
        position = self.layer.tell()
        if position == BLOCK:
            return Corrupt("the layer is not a tar archive", details=str(error))
        where = f"the layer's header before byte {position}"
        return Corrupt(f"{where} is malformed", details=str(error))

    def _read_block(self, prelude: _Prelude) -> bytes | None:
        block = self.layer.read(BLOCK)
        if len(block) == BLOCK and not tarheader.is_end(block):
            return block
        if len(block) not in (0, BLOCK) or prelude.used:
            raise Corrupt(f"the layer ends within a header, after {self._last!r}")
        if not block and not self.layer.tell():
            raise Corrupt("the layer is empty, not even an archive without members")
        return None

    def _take_prelude(self, header: Member, prelude: _Prelude) -> bool:
        """Take in a header that only describes the next one; False if it is a member."""
        kind = header.type
        if kind == _VOLUME_LABEL:
            return True
        if kind not in _EXTENDED and kind not in _LONG and kind != tarfile.XGLTYPE:
            return False
        data = self._read_extension(header)
        if kind in _LONG:
            prelude.set_long(data, link=kind == tarfile.GNUTYPE_LONGLINK)
        elif kind == tarfile.XGLTYPE:
            self._global = pax.parse(data, self._global).values
            prelude.inherited = self._global
        else:
            prelude.set_records(data)
        return True

    def _read_extension(self, header: Member) -> bytes:
        size = header.size
        if not 0 <= size <= pax.MAX_BYTES:
            raise ValueError(f"an extended header of {size} bytes")
        data = self.layer.read(size + -size % BLOCK)
        if len(data) < size:
            raise Corrupt(f"the layer ends within a header, after {self._last!r}")
        return data[:size]

    def _complete(self, member: Member, block: bytes, prelude: _Prelude) -> None:
        """Put together what the headers say, and check it."""
        if prelude.name is not None:
            member.name = prelude.name
        if prelude.link is not None:
            member.linkname = prelude.link
        records = prelude.records or (pax.Records(self._global) if self._global else None)
        if records is not None:
            member.apply(records)
        if member.type == tarfile.GNUTYPE_SPARSE:
            self._read_old_map(member, block)
        elif records is not None and any(k.startswith("GNU.sparse.") for k in records.values):
            self._read_map(member, records)
        if member.type not in _KNOWN:
            raise ValueError(f"{member.name!r} has the unknown type {member.type!r}")
        member.check()
        self._check_names(member)

    def _read_old_map(self, member: Member, block: bytes) -> None:
        segments, more, member.size = tarheader.old_sparse_map(block)
        while more:
            extension = self.layer.read(BLOCK)
            if len(extension) < BLOCK:
                raise Corrupt(f"the layer ends within the header of {member.name!r}")
            found, more = tarheader.old_sparse_extension(extension)
            segments.extend(found)
            _limit(len(segments) // 2)
        member.segments = segments

    def _read_map(self, member: Member, records: pax.Records) -> None:
        """GNU's three pax formats: 0.0 repeats keys, 0.1 has a list, 1.0 puts it in the data."""
        member.name = records.text("GNU.sparse.name", member.name)
        values = records.values
        size = records.number("GNU.sparse.size", member.size)
        member.size = records.number("GNU.sparse.realsize", size)
        if values.get("GNU.sparse.major") == b"1":
            member.segments = self._read_map_in_data(member)
        elif "GNU.sparse.map" in values:
            listed = values["GNU.sparse.map"]
            member.segments = array("q", map(pax.decimal, listed.split(b",") if listed else ()))
        elif "GNU.sparse.size" in values:
            member.segments = records.sparse_parts

    def _read_map_in_data(self, member: Member) -> array[int]:
        """Decimal numbers, each with a newline, their count first, padded to whole blocks."""
        numbers = array("q")
        rest, wanted = b"", 1
        while len(numbers) < wanted:
            block = self.layer.read(BLOCK)
            member.stored -= BLOCK
            if len(block) < BLOCK or member.stored < 0:
                raise ValueError("a sparse map that does not end")
            *lines, rest = (rest + block).split(b"\n")
            numbers.extend(map(pax.decimal, lines[: wanted - len(numbers)]))
            if wanted == 1 and numbers:
                _limit(numbers[0])
                wanted = 1 + 2 * numbers[0]
                numbers.extend(map(pax.decimal, lines[1:wanted]))
        return numbers[1:]

    def _check_names(self, member: Member) -> None:
        """tarsafe's rules on the name and on a hard link's target, after making them relative."""
        member.name = name = _relative(member.name)
        if self._is_traversal_attempt(tarinfo=member, root=_ROOT) or _goes_up(name):
            raise _leads_out(name, name)
        if member.type == tarfile.LNKTYPE:
            member.linkname = target = _relative(member.linkname)
            if self._is_unsafe_link(tarinfo=member, root=_ROOT) or _goes_up(target):
                raise _leads_out(name, target)

    @staticmethod
    def _looks_suspicious(name: str) -> bool:
        # Backslashes and drive letters are characters like others here.
        return ".." in name or name.startswith("/")

    def _drain(self) -> None:
        """Read on to the end: only zeros may follow, but they are part of the layer's hash."""
        while True:
            piece = self.layer.take(1 << 20)
            if piece.start == piece.end:
                return
            if piece.buffer.count(0, piece.start, piece.end) != piece.end - piece.start:
                raise Corrupt("data follows the end of the layer's archive")


class _Prelude:
    """What the headers before a member's own say about it."""

    def __init__(self, inherited: dict[str, bytes]) -> None:
        self.inherited = inherited
        self.name: str | None = None
        self.link: str | None = None
        self.records: pax.Records | None = None
        self.used = False

    def set_long(self, data: bytes, *, link: bool) -> None:
        """Take a GNU long name or link target."""
        text = tarheader.long_name(data)
        if link:
            self.link = text
        else:
            self.name = text
        self.used = True

    def set_records(self, data: bytes) -> None:
        """Take an extended header."""
        self.records = pax.parse(data, self.inherited)
        self.used = True


def _limit(entries: int) -> None:
    if entries > tarheader.MAX_SPARSE_ENTRIES:
        raise ValueError(f"a sparse map of {entries} entries")


def _relative(name: str) -> str:
    """The name without what does not change where it leads. Raises ValueError for its length."""
    if len(name) > MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(name)} bytes")
    # Nearly all names need no more than this.
    name = name.removeprefix("./")
    if name and "/." not in name and "//" not in name and name[0] not in "./" and name[-1] != "/":
        return name
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _goes_up(name: str) -> bool:
    """Whether '..' is in it. Even if it stays inside, where it leads depends on links."""
    return ".." in name and ".." in name.split("/")


def _leads_out(member: str, name: str) -> InvalidParameter:
    what = f"the layer's member {member!r}"
    if name != member:
        what += f" links to {name!r}, which"
    return InvalidParameter(
        f"{what} leads out of the image",
        resolution="such a layer is malicious or broken; nothing outside was touched",
    )
