"""Unpacks one layer into a directory of its own, in the form that an overlay mount wants.

What a layer says about the layers below it becomes overlayfs's own marks: ``.wh.name`` a
character device 0:0, ``.wh..wh..opq`` the attribute ``trusted.overlay.opaque`` (image-spec,
layer.md; overlayfs.rst). What can only be told by looking at the layers below is handed back,
for ``complete_layer``.

Nothing is written outside the directory, whatever the archive holds: parents are opened by
openat2(2) below it (``tree.py``), and every other call takes a single name and follows no link.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Corrupt, EngineError, InvalidParameter
from runengine.ids import DiffID
from runengine.rootfs import attributes
from runengine.rootfs.attributes import IMPLICIT, Attributes
from runengine.rootfs.complete import complete_layer
from runengine.rootfs.content import HOLE_BYTES, write_member
from runengine.rootfs.filling import Filler
from runengine.rootfs.layertree import LayerTree, drop_whiteouts
from runengine.rootfs.reader import LayerReader
from runengine.rootfs.stream import LayerStream, too_long
from runengine.rootfs.usage import Count, Usage
from runengine.rootfs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.rootfs.inflate import Source
    from runengine.rootfs.tarheader import Member
    from runengine.rootfs.tree import Directory

__all__ = ["Limits", "Unpacked", "complete_layer", "unpack_layer"]

_WHITEOUT = ".wh."
_METADATA = ".wh..wh."
_OPAQUE = ".wh..wh..opq"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPACE_CHECK_BYTES = 1 << 26
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BAD_MEMBER = (
    errno.EINVAL,
    errno.EFBIG,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ERANGE,
)


class Limits(NamedTuple):
    """What a layer may take; None is no limit."""

    max_bytes: int | None = None
    """Length of the uncompressed archive."""
    max_members: int | None = None
    min_free_bytes: int = 0
    """Left free on the disk by the layer's files."""


class Unpacked(NamedTuple):
    """A layer on disk, and what it needs the layers below for."""

    diff_id: DiffID
    tar_bytes: int
    links: list[tuple[str, str]]
    """Hard links whose target is not in this layer: name and target, from the root."""
    implicit_dirs: list[str]
    """Directories that hold members but are none: they look as they do in the layers below."""
    whiteout_dirs: list[str] = []  # noqa: RUF012 (never changed)
    """Directories with whiteouts: if the layers below do not have them, these must go."""
    usage: Usage | None = None
    """What it takes on the disk, where that is known: ``disk_usage`` looks at every file again."""

    @property
    def needs_lowers(self) -> bool:
        """Whether ``complete_layer`` has anything to do."""
        return bool(self.links or self.implicit_dirs or self.whiteout_dirs)


def unpack_layer(source: Source, dest: str, limits: Limits | None = None) -> Unpacked:
    """Unpack a layer as it is stored (plain, gzip, zstd, ...) into ``dest``, an empty directory.

    ``source`` is read to its end in large pieces, by another thread. Raises Corrupt for a damaged
    layer, InvalidParameter for one that tries to leave ``dest`` or exceeds ``limits``,
    EngineError for what the disk refuses; ``dest`` is then in no particular state.
    """
    root_fd = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    limits = limits or Limits()
    stream = LayerStream(source, limits.max_bytes)
    unpacker = _Unpacker(root_fd, stream, limits)
    try:
        unpacker.run()
        links = unpacker.take_back_links()
        implicit, whiteouts = unpacker.finish(dest)
        diff_id = DiffID("sha256:" + stream.hexdigest())
        usage = None if links or implicit or whiteouts else unpacker.usage()
        return Unpacked(diff_id, stream.tell(), links, implicit, whiteouts, usage)
    except OSError as error:
        raise explain(error, "the layer") from error
    finally:
        stream.close()
        unpacker.filler.close()
        unpacker.tree.close()
        os.close(root_fd)


class _Unpacker:
    """Places members one after the other; each one overrides what came before."""

    def __init__(self, root_fd: int, stream: LayerStream, limits: Limits) -> None:
        self.tree = LayerTree(root_fd)
        self._count, self._count_filled = Count(), Count()
        self.filler = Filler(explain, self._count_filled)
        self._stream = stream
        self._limits = limits
        self._members = 0
        self._next_space_check = 0
        self._links: dict[int, tuple[str, str]] = {}
        """Links into the layers below, by the inode that keeps the place: name and target."""
        self._whiteouts: set[int] = set()
        """Inodes of directories in which there are some."""
        self._place_by_type: dict[bytes, Callable[[Member, Directory, str], None]] = {
            tarfile.DIRTYPE: self._directory,
            tarfile.SYMTYPE: self._symlink,
            tarfile.LNKTYPE: self._hard_link,
            tarfile.CHRTYPE: self._node,
            tarfile.BLKTYPE: self._node,
            tarfile.FIFOTYPE: self._node,
        }
        self._prepare_root(root_fd)

    def _prepare_root(self, root_fd: int) -> None:
        """Nothing may be inherited: neither a group nor default access rights."""
        seen = os.fstat(root_fd)
        if seen.st_mode & stat.S_ISGID:
            os.fchmod(root_fd, stat.S_IMODE(seen.st_mode) & ~stat.S_ISGID)
        if "system.posix_acl_default" in os.listxattr(root_fd):
            os.removexattr(root_fd, "system.posix_acl_default")
        self._root_inode = seen.st_ino
        self.tree.attributes[seen.st_ino] = IMPLICIT

    def run(self) -> None:
        """Place every member."""
        for member in LayerReader(self._stream):
            self._check_limits(member)
            try:
                self._place(member)
            except OSError as error:
                raise explain(error, f"the layer's member {member.name!r}") from error
        self.filler.finish()

    def usage(self) -> Usage | None:
        """What the layer takes on the disk, once it is finished; None if something was removed."""
        if self.tree.replaced:
            return None
        return Usage(*map(sum, zip(self._count.usage(), self._count_filled.usage(), strict=True)))

    def take_back_links(self) -> list[tuple[str, str]]:
        """Hard links into the layers below that no later member has overridden."""
        return [link for inode, link in self._links.items() if self._take_back(link[0], inode)]

    def _take_back(self, name: str, inode: int) -> bool:
        folder, _, base = name.rpartition("/")
        try:
            fd = self.tree.open(folder)
        except OSError:
            return False
        try:
            seen = os.stat(base, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISSOCK(seen.st_mode) or seen.st_ino != inode:
                return False
            os.unlink(base, dir_fd=fd)
        except FileNotFoundError:
            return False
        finally:
            os.close(fd)
        return True

    def finish(self, dest: str) -> tuple[list[str], list[str]]:
        """Set the attributes of all directories, as nothing is added to them any more.

        Returns the names of those that are not listed, and of those with whiteouts that may mean
        something, both parents first.
        """
        implicit, whiteouts = [], []
        opaque: set[str] = set()
        for visit in walk(dest):
            inode = os.fstat(visit.fd).st_ino
            wanted = self.tree.attributes.get(inode)
            if wanted is None:
                implicit.append("/".join(visit.names))
            if inode in self._whiteouts and visit.names:
                whiteouts.append(self._keep(visit.names))
            if inode in self.tree.opaque:
                opaque.add(self._keep(visit.names))
            self._count.add(attributes.apply_fd(visit.fd, wanted or IMPLICIT))
        useless = [name for name in whiteouts if opaque and not opaque.isdisjoint(_upwards(name))]
        for name in useless:
            drop_whiteouts(self.tree, name)
            self.tree.replaced = True
        kept = set(whiteouts).difference(useless)
        return sorted(implicit, key=_depth), sorted(kept, key=_depth)

    def _keep(self, names: list[str]) -> str:
        name = "/".join(names)
        self.tree.keep(len(name))
        return name

    def _check_limits(self, member: Member) -> None:
        limits = self._limits
        self._members += 1
        if limits.max_members is not None and self._members > limits.max_members:
            raise InvalidParameter(f"the layer has more than {limits.max_members} members")
        position = self._stream.tell()
        if limits.max_bytes is not None and position + member.stored > limits.max_bytes:
            raise too_long(limits.max_bytes)
        if limits.min_free_bytes and position >= self._next_space_check:
            self._next_space_check = position + _SPACE_CHECK_BYTES
            disk = os.fstatvfs(self.tree.root_fd)
            if disk.f_bavail * disk.f_frsize < limits.min_free_bytes:
                raise _no_space(f"the layer's member {member.name!r}")

    def _place(self, member: Member) -> None:
        folder, _, base = member.name.rpartition("/")
        if not base:
            self._root(member)
            return
        if _WHITEOUT in member.name and self._special(member.name, folder, base):
            return
        parent = self.tree.directory(folder)
        if member.is_file:
            self._file(member, parent, base)
        else:
            self._place_by_type[member.type](member, parent, base)

    def _root(self, member: Member) -> None:
        if member.type != tarfile.DIRTYPE:
            raise Corrupt("the layer's root directory is not a directory")
        self.tree.attributes[self._root_inode] = _attributes(member)

    def _file(self, member: Member, parent: Directory, base: str) -> None:
        if member.stored < HOLE_BYTES and member.segments is None:
            data = self._stream.read(member.stored)
            if len(data) < member.stored:
                raise _ends_within(member)
            self.filler.give(self._create(parent, base, member.mode), data, member)
            return
        fd = self._create(parent, base, member.mode)
        try:
            if not write_member(fd, member, self._stream):
                raise _ends_within(member)
            attributes.apply_fd(fd, member)
        finally:
            os.close(fd)
        # Not before it is closed: XFS keeps room for more until then.
        self._count_at(parent, base)

    def _create(self, parent: Directory, base: str, mode: int) -> int:
        try:
            return os.open(base, _CREATE, mode & 0o777, dir_fd=parent.fd)
        except FileExistsError:
            self.tree.clear(parent, base)
            return os.open(base, _CREATE, mode & 0o777, dir_fd=parent.fd)

    def _directory(self, member: Member, parent: Directory, base: str) -> None:
        inode = self.tree.make(parent, base)
        self.tree.attributes[inode] = _attributes(member)

    def _symlink(self, member: Member, parent: Directory, base: str) -> None:
        try:
            os.symlink(member.linkname, base, dir_fd=parent.fd)
        except FileExistsError:
            self.tree.clear(parent, base)
            os.symlink(member.linkname, base, dir_fd=parent.fd)
        attributes.apply_at(parent.fd, base, member, link=True)
        self._count_at(parent, base)

    def _node(self, member: Member, parent: Directory, base: str) -> None:
        kind = {
            tarfile.CHRTYPE: stat.S_IFCHR,
            tarfile.BLKTYPE: stat.S_IFBLK,
            tarfile.FIFOTYPE: stat.S_IFIFO,
        }[member.type]
        device = os.makedev(member.devmajor, member.devminor)
        self._make_node(parent, base, kind, device)
        if kind == stat.S_IFCHR and not device:
            # It cannot be told from a whiteout.
            self._whiteouts.add(os.fstat(parent.fd).st_ino)
        attributes.apply_at(parent.fd, base, member, link=False)
        self._count_at(parent, base)

    def _count_at(self, parent: Directory, base: str) -> None:
        self._count.add(os.stat(base, dir_fd=parent.fd, follow_symlinks=False))

    def _make_node(self, parent: Directory, base: str, kind: int, device: int) -> None:
        try:
            os.mknod(base, kind | 0o600, device, dir_fd=parent.fd)
        except FileExistsError:
            self.tree.clear(parent, base)
            os.mknod(base, kind | 0o600, device, dir_fd=parent.fd)

    def _hard_link(self, member: Member, parent: Directory, base: str) -> None:
        """Link to a file of this layer, or remember to link to one of a layer below.

        The link's own header says nothing: owner, mode and times are the file's.
        """
        target = member.linkname
        folder, _, name = target.rpartition("/")
        try:
            other = self.tree.present.directory(folder)
            seen = os.stat(name or ".", dir_fd=other.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self._postpone(target, parent, base)
            return
        if stat.S_ISDIR(seen.st_mode):
            raise Corrupt(f"the layer's member {member.name!r} is a hard link to a directory")
        if attributes.is_whiteout(seen):
            self._postpone(target, parent, base)
        elif stat.S_ISSOCK(seen.st_mode):
            self._postpone(self._links[seen.st_ino][1], parent, base)
        elif not self._is_same(seen, parent, base):
            self._link(other, name, parent, base)

    def _link(self, other: Directory, name: str, parent: Directory, base: str) -> None:
        fds = {"src_dir_fd": other.fd, "dst_dir_fd": parent.fd}
        try:
            os.link(name, base, **fds, follow_symlinks=False)
        except FileExistsError:
            self.tree.clear(parent, base)
            os.link(name, base, **fds, follow_symlinks=False)

    def _is_same(self, seen: os.stat_result, parent: Directory, base: str) -> bool:
        try:
            return os.path.samestat(seen, os.stat(base, dir_fd=parent.fd, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def _postpone(self, target: str, parent: Directory, base: str) -> None:
        """Keep the link's place, so that later members override it like any other.

        A socket does, as no archive has any.
        """
        self.tree.keep(len(parent.path) + len(base) + len(target))
        self._make_node(parent, base, stat.S_IFSOCK, 0)
        inode = os.stat(base, dir_fd=parent.fd, follow_symlinks=False).st_ino
        # A place that was given up may have been this very inode.
        self._links.pop(inode, None)
        self._links[inode] = (parent.child(base), target)

    def _special(self, name: str, folder: str, base: str) -> bool:
        """Deal with names that speak of other names; False for one that does not."""
        parts = folder.split("/")
        if any(p.startswith(_METADATA) for p in parts):
            return True
        if any(p.startswith(_WHITEOUT) for p in parts):
            raise Corrupt(f"the layer's member {name!r} lies below a whiteout")
        if base.startswith(_METADATA) and base != _OPAQUE:
            # Notes that aufs kept for itself.
            return True
        if not base.startswith(_WHITEOUT):
            return False
        hidden = base.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise Corrupt(f"the layer's member {name!r} is a whiteout of nothing")
        parent = self.tree.directory(folder)
        if base == _OPAQUE:
            self.tree.mark_opaque(parent.fd)
        else:
            self._whiteout(parent, hidden)
        return True

    def _whiteout(self, parent: Directory, name: str) -> None:
        """Hide what the layers below have under a name, but nothing of this layer."""
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent.fd)
        except FileExistsError:
            seen = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                self.tree.hide_lowers(parent, name)
        else:
            self._whiteouts.add(os.fstat(parent.fd).st_ino)
            self._count_at(parent, name)


def _depth(name: str) -> int:
    return name.count("/")


def _upwards(name: str) -> Iterator[str]:
    """The name, its parents', and the root's."""
    while name:
        yield name
        name = name.rpartition("/")[0]
    yield ""


def _ends_within(member: Member) -> Corrupt:
    return Corrupt(f"the layer ends within {member.name!r}")


def _attributes(member: Member) -> Attributes:
    return Attributes(member.mode, member.uid, member.gid, member.mtime_ns, member.xattrs)


def explain(error: OSError, what: str) -> EngineError:
    """The error for what the kernel refused."""
    if error.errno in _FULL:
        return _no_space(what, error.strerror)
    if error.errno in _BAD_MEMBER:
        return Corrupt(f"{what} cannot be unpacked", details=error.strerror)
    return EngineError(f"{what} cannot be unpacked", details=error.strerror or str(error))


def _no_space(what: str, details: str | None = None) -> EngineError:
    return EngineError(
        f"no space left on the disk to unpack {what}",
        details=details,
        resolution="free some space, for instance with rmi, and try again",
    )
