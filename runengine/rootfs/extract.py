"""Extracts an archive into a directory that is in use, as ``tar`` does: nothing is a whiteout.

Names are looked up from the root of the container, so its own links (``/bin`` to ``usr/bin``) are
followed inside it. A link that the archive itself has brought is not: with one, and a member
"below" it, an archive would write where its user did not say.
"""

from __future__ import annotations

import os
import stat
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, Corrupt, EngineError, InvalidParameter
from runengine.rootfs import attributes
from runengine.rootfs.content import write_member
from runengine.rootfs.reader import LayerReader
from runengine.rootfs.stream import LayerStream
from runengine.rootfs.transfer import Options, clear, create, in_place
from runengine.rootfs.tree import Tree
from runengine.rootfs.unpack import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.rootfs.inflate import Source
    from runengine.rootfs.tarheader import Member
    from runengine.rootfs.tree import Directory

_NODES = {
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


class Extracted:
    """How much it was."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0


def extract(
    source: Source,
    root_fd: int,
    directory: str,
    options: Options,
    *,
    replace: bool = False,
) -> Extracted:
    """Extract a tar stream, compressed or not, into ``directory``, a name below the root.

    ``replace``: a file may take the place of an empty directory, and a directory that of a file.
    Raises Corrupt, InvalidParameter (a name that leads out), Conflict, EngineError (a full disk).
    """
    stream = LayerStream(source)
    work = _Extraction(stream, root_fd, directory.strip("/"), options, replace=replace)
    try:
        for member in LayerReader(stream):
            work.place(member)
        work.finish()
    except OSError as error:
        raise explain(error, "the archive") from error
    except EngineError as error:
        raise _reworded(error) from error
    finally:
        stream.close()
        work.tree.close()
    return work.done


def _reworded(error: EngineError) -> EngineError:
    """The reader speaks of layers, which is what it mostly reads."""
    error.brief = error.brief.replace("the layer", "the archive")
    return error


class _Links(Tree):
    """The container's directories; the archive's own links do not lead to any."""

    def __init__(self, root_fd: int) -> None:
        super().__init__(root_fd)
        self.made: set[tuple[int, int]] = set()

    def missing(self, parent: Directory, name: str) -> None:
        """Make a directory that the archive does not list."""
        os.mkdir(name, 0o755, dir_fd=parent.fd)

    def check_link(self, seen: os.stat_result, name: str) -> None:
        """Refuse to follow what this archive has made."""
        if (seen.st_dev, seen.st_ino) in self.made:
            raise InvalidParameter(
                f"the archive has a member below its own link {name!r}",
                resolution="such an archive is malicious or broken",
            )


class _Extraction:
    """Places members one after the other; each one overrides what was there."""

    def __init__(
        self, stream: LayerStream, root_fd: int, folder: str, options: Options, *, replace: bool
    ) -> None:
        self.tree = _Links(root_fd)
        self.done = Extracted()
        self._stream = stream
        self._folder = folder
        self._options = options
        self._replace = replace
        self._times: dict[str, int] = {}

    def place(self, member: Member) -> None:
        """Put one member where it belongs."""
        if self._options.check is not None:
            self._options.check()
        options = self._options
        member.uid, member.gid = options.owner or options.owners(member.uid, member.gid)
        folder, _, base = member.name.rpartition("/")
        try:
            parent = self._directory_at(folder)
            self._place(member, parent, base)
        except OSError as error:
            raise explain(error, f"the archive's member {member.name!r}") from error
        self.done.files += 1

    def finish(self) -> None:
        """Set the times of directories, as nothing is added to them any more."""
        for name, mtime_ns in self._times.items():
            with suppress(OSError):  # moved away meanwhile
                fd = self.tree.open(self._below(name), os.O_RDONLY)
                try:
                    os.utime(fd, ns=attributes.times(mtime_ns))
                finally:
                    os.close(fd)

    def _below(self, name: str) -> str:
        return "/".join(part for part in (self._folder, name) if part)

    def _directory_at(self, name: str) -> Directory:
        return self.tree.directory(self._below(name))

    def _place(self, member: Member, parent: Directory, base: str) -> None:
        if member.is_file:
            self._file(member, parent, base)
        elif member.type == tarfile.DIRTYPE:
            self._directory(member, parent, base)
        elif not base:
            raise Corrupt("the archive's root directory is not a directory")
        elif member.type == tarfile.SYMTYPE:
            self._symlink(member, parent, base)
        elif member.type == tarfile.LNKTYPE:
            self._hard_link(member, parent, base)
        else:
            self._node(member, parent, base)

    def _file(self, member: Member, parent: Directory, base: str) -> None:
        if not base:
            raise Corrupt("the archive's root directory is not a directory")
        fd, made = create(parent.fd, base, member.mode, lambda: self._clear(parent, base))
        try:
            self._fill(fd, member)
        except BaseException:
            if made:
                with suppress(OSError):
                    os.unlink(base, dir_fd=parent.fd)
            raise
        finally:
            os.close(fd)
        self.done.bytes += member.size

    def _fill(self, fd: int, member: Member) -> None:
        if not write_member(fd, member, self._stream):
            raise Corrupt(f"the archive ends within {member.name!r}")
        attributes.apply_fd(fd, member)

    def _directory(self, member: Member, parent: Directory, base: str) -> None:
        if base:
            self._make_directory(parent, base)
        fd = os.open(
            base or ".",
            os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
            dir_fd=parent.fd,
        )
        try:
            attributes.apply_fd(fd, member)
        finally:
            os.close(fd)
        self._times[member.name] = member.mtime_ns

    def _make_directory(self, parent: Directory, base: str) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            seen = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                return
            if not self._replace:
                raise Conflict(
                    f"cannot overwrite non-directory {parent.child(base)!r} with directory"
                ) from None
            os.unlink(base, dir_fd=parent.fd)
            self.tree.forget()
            os.mkdir(base, 0o700, dir_fd=parent.fd)

    def _symlink(self, member: Member, parent: Directory, base: str) -> None:
        self._make(
            parent, base, lambda: os.symlink(member.linkname, base, dir_fd=parent.fd)
        )
        attributes.apply_at(parent.fd, base, member, link=True)
        seen = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
        self.tree.made.add((seen.st_dev, seen.st_ino))

    def _node(self, member: Member, parent: Directory, base: str) -> None:
        mode = _NODES[member.type] | 0o600
        device = os.makedev(member.devmajor, member.devminor)
        self._make(parent, base, lambda: os.mknod(base, mode, device, dir_fd=parent.fd))
        attributes.apply_at(parent.fd, base, member, link=False)

    def _hard_link(self, member: Member, parent: Directory, base: str) -> None:
        """Another name of a file that came before, or was there."""
        folder, _, name = member.linkname.rpartition("/")
        other = self._directory_at(folder)
        seen = os.stat(name or ".", dir_fd=other.fd, follow_symlinks=False)
        with suppress(FileNotFoundError):
            there = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
            if os.path.samestat(seen, there):
                return
        fds = {"src_dir_fd": other.fd, "dst_dir_fd": parent.fd}
        self._make(
            parent, base, lambda: os.link(name, base, **fds, follow_symlinks=False)
        )

    def _make(self, parent: Directory, base: str, make: Callable[[], None]) -> None:
        in_place(make, lambda: self._clear(parent, base))

    def _clear(self, parent: Directory, base: str) -> None:
        seen = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode) and self._replace:
            os.rmdir(base, dir_fd=parent.fd)
        else:
            clear(parent.fd, base)
        self.tree.forget()
