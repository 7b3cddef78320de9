"""Copies files from one open directory into another, with no archive in between.

Both sides may change meanwhile, by whoever wants to lead the copy elsewhere. So every call takes a
single name in an open directory and follows no link, what is opened is looked at before it is
read, and the way back up is checked (``_Pair.leave``). Memory does not grow with the files of a
directory, and a tree may be of any depth: it takes a few descriptors.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, InvalidParameter
from runengine.linux import kernelfs, libc
from runengine.rootfs import attributes
from runengine.rootfs.copytree import same
from runengine.rootfs.sink import FileSink
from runengine.rootfs.sparse import map_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.rootfs.copytree import Owners
    from runengine.rootfs.places import Entry

    Identity = tuple[int, int]

SMALL_BYTES = 1 << 18
"""Up to here a file is read and written in one piece."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ESTALE})
_ATTEMPTS = 8
"""How often something that others put in the way is taken away again."""


class Options(NamedTuple):
    """How to copy."""

    owner: tuple[int, int] | None = None
    """User and group of all that is made; None: as they are at the source."""
    owners: Owners = same
    """What those at the source are here, if they stay."""
    hidden: frozenset[Identity] = frozenset()
    """Directories whose contents are left out: what the kernel shows a container below them."""
    check: Callable[[], None] | None = None
    """Called before each file: raises what ends the copy."""
    trusted: bool = False
    """Nobody puts devices in the place of files, so they need not be looked at first."""


class Transfer:
    """One copy. Counts what it has copied, and what it could not: sockets.

    Methods raise OSError with the name of what failed, Conflict where something of another kind
    is in the way, InvalidParameter for what would be copied into itself.
    """

    def __init__(self, options: Options = Options()) -> None:  # noqa: B008 (immutable)
        self._options = options
        self._links: dict[Identity, list[str]] = {}
        self._top_fd = -1
        self._top: Identity | None = None
        self.files = 0
        self.bytes = 0
        self.sockets = 0

    def copy(self, source: Entry, dir_fd: int, base: str) -> None:
        """Copy an entry to ``base`` in an open directory; ``.`` is that directory itself.

        A directory is merged into one that is there. Anything else takes a file's place.
        """
        self._top_fd = dir_fd
        if source.is_dir:
            _refuse_inside(source, dir_fd)
            with _pair(source, dir_fd, base) as pair:
                self._tree(pair)
        else:
            is_file = stat.S_ISREG(source.seen.st_mode)
            self._one(_Names(source.dir_fd, dir_fd, ()), source.base, base, is_file=is_file)

    def _tree(self, pair: _Pair) -> None:
        self._top = _identity(os.fstat(pair.target_fd))
        self._enter(pair)
        while pair.levels:
            todo = pair.levels[-1].todo
            if not todo:
                pair.leave(self._options)
            elif pair.descend(todo.pop()):
                self._enter(pair)

    def _enter(self, pair: _Pair) -> None:
        """Copy the files of the directory reached, and note its directories."""
        level = pair.begin()
        if level.source == self._top:
            raise _into_itself(pair.name)
        if level.source in self._options.hidden or pair.shows_kernel():
            return
        names = _Names(pair.source_fd, pair.target_fd, pair.names)
        with os.scandir(pair.source_fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    level.todo.append(entry.name)
                else:
                    is_file = entry.is_file(follow_symlinks=False)
                    self._one(names, entry.name, is_file=is_file)

    def _one(self, names: _Names, name: str, base: str = "", *, is_file: bool) -> None:
        """Copy what is no directory; what has gone meanwhile is passed over."""
        if self._options.check is not None:
            self._options.check()
        readable = is_file and self._options.trusted
        try:
            if readable:
                fd = os.open(name, _READ, dir_fd=names.source_fd)
            else:
                # A look first: to open a device, or a fifo, does things.
                fd = os.open(name, _LOOK, dir_fd=names.source_fd)
        except OSError as error:
            if error.errno in _GONE and self._top is not None:
                return
            raise
        try:
            self._copy(names, fd, base or name, readable=readable)
        except OSError as error:
            if error.filename is None:
                error.filename = names.child(name)
            raise
        finally:
            os.close(fd)

    def _copy(self, names: _Names, fd: int, base: str, *, readable: bool) -> None:
        """Copy what is open, to be read or only to be looked at."""
        seen = os.fstat(fd)
        if seen.st_nlink > 1 and self._linked(names, base, seen):
            self.files += 1
        elif not stat.S_ISREG(seen.st_mode):
            self._special(names, fd, base, seen)
        elif readable:
            self._file(names, fd, base, seen)
        else:
            again = os.open(f"/proc/self/fd/{fd}", _READ & ~os.O_NOFOLLOW)
            try:
                self._file(names, again, base, seen)
            finally:
                os.close(again)

    def _file(self, names: _Names, fd: int, base: str, seen: os.stat_result) -> None:
        out, made = create(names.target_fd, base, seen.st_mode, names.room(base, seen))
        try:
            self.bytes += _content(fd, out, seen)
            attributes.apply_fd(out, self._look(fd, seen))
        except BaseException:
            if made:
                with suppress(OSError):
                    os.unlink(base, dir_fd=names.target_fd)
            raise
        finally:
            os.close(out)
        self.files += 1

    def _look(self, fd: int, seen: os.stat_result) -> attributes.Attributes:
        return look(seen, attributes.read_xattrs(fd), self._options)

    def _special(self, names: _Names, fd: int, base: str, seen: os.stat_result) -> None:
        kind = stat.S_IFMT(seen.st_mode)
        if kind == stat.S_IFSOCK:
            self.sockets += 1
            return
        link = os.readlink("", dir_fd=fd) if kind == stat.S_IFLNK else None

        def make() -> None:
            if link is not None:
                os.symlink(link, base, dir_fd=names.target_fd)
            else:
                os.mknod(base, kind | 0o600, seen.st_rdev, dir_fd=names.target_fd)

        in_place(make, names.room(base, seen))
        wanted = look(seen, {}, self._options)
        attributes.apply_at(names.target_fd, base, wanted, link=link is not None)
        self.files += 1

    def _linked(self, names: _Names, base: str, seen: os.stat_result) -> bool:
        """Make a link to the copy of a file with several names, if there is one already."""
        first = self._links.setdefault(_identity(seen), [])
        if not first:
            first += [*names.below, base]
            return False
        try:
            folder = _beneath(self._top_fd, first[:-1])
        except OSError:
            return False
        try:
            fds = {"src_dir_fd": folder, "dst_dir_fd": names.target_fd}

            def make() -> None:
                os.link(first[-1], base, **fds, follow_symlinks=False)

            in_place(make, names.room(base, seen))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EXDEV, errno.EMLINK, errno.EPERM):
                return False
            raise
        finally:
            os.close(folder)
        return True


class _Names(NamedTuple):
    """Two open directories, and their common name below where the copy began."""

    source_fd: int
    target_fd: int
    below: tuple[str, ...] | list[str]

    def child(self, name: str) -> str:
        return "/".join([*self.below, name])

    def room(self, base: str, seen: os.stat_result) -> Callable[[], None]:
        return lambda: clear(self.target_fd, base, seen)


class _Level(NamedTuple):
    """A directory on the way down, on both sides."""

    todo: list[str]
    source: Identity
    target: Identity
    look: attributes.Attributes


class _Pair:
    """Where a walk through two trees stands. ``names`` is how deep, below the copy's target."""

    def __init__(self, source_fd: int, target_fd: int, names: list[str]) -> None:
        self.source_fd = source_fd
        self.target_fd = target_fd
        self.names = names
        self.levels: list[_Level] = []
        self._device = os.fstat(source_fd).st_dev

    @property
    def name(self) -> str:
        """For messages."""
        return "/".join(self.names) or "."

    def begin(self) -> _Level:
        """Note the directory that was reached."""
        seen, there = os.fstat(self.source_fd), os.fstat(self.target_fd)
        kept = look(seen, attributes.read_xattrs(self.source_fd), Options())
        level = _Level([], _identity(seen), _identity(there), kept)
        self.levels.append(level)
        return level

    def shows_kernel(self) -> bool:
        """Whether the directory is of a file system that the kernel makes up."""
        if self.levels[-1].source[0] == self._device:
            return False
        return kernelfs.is_made_up(self.source_fd)

    def descend(self, name: str) -> bool:
        """Go into a directory on both sides; False if it is none any more."""
        try:
            source = os.open(name, _DIRECTORY, dir_fd=self.source_fd)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        try:
            target = make_directory(self.target_fd, name)
        except BaseException:
            os.close(source)
            raise
        self._become(source, target)
        self.names.append(name)
        return True

    def leave(self, options: Options) -> None:
        """The directory has all its entries: give it its looks and go up, if not at the top."""
        level = self.levels.pop()
        attributes.apply_fd(self.target_fd, _owned(level.look, options))
        if not self.levels:
            return
        above = self.levels[-1]
        source = _up(self.source_fd, above.source)
        try:
            target = _up(self.target_fd, above.target)
        except BaseException:
            os.close(source)
            raise
        self._become(source, target)
        self.names.pop()

    def _become(self, source: int, target: int) -> None:
        self.close()
        self.source_fd, self.target_fd = source, target

    def close(self) -> None:
        """Close both."""
        os.close(self.source_fd)
        os.close(self.target_fd)

    def __enter__(self) -> _Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pair(source: Entry, dir_fd: int, base: str) -> _Pair:
    fd = os.open(source.base, _DIRECTORY, dir_fd=source.dir_fd)
    try:
        if base == ".":
            target = os.open(".", _DIRECTORY, dir_fd=dir_fd)
        else:
            target = make_directory(dir_fd, base)
    except BaseException:
        os.close(fd)
        raise
    pair = _Pair(fd, target, [] if base == "." else [base])
    if os.path.samestat(os.fstat(fd), os.fstat(target)):
        pair.close()
        raise InvalidParameter(f"{base!r} and its copy are the same directory")
    return pair


def _refuse_inside(source: Entry, dir_fd: int) -> None:
    """Raise InvalidParameter if the target is below the source, as far as its parents show.

    Through a mount it may be all the same: then the walk meets it (``Transfer._enter``).
    """
    inside = _identity(source.seen)
    fd = os.open(".", _DIRECTORY, dir_fd=dir_fd)
    try:
        last = None
        while (here := _identity(os.fstat(fd))) != last:
            if here == inside:
                raise _into_itself(source.base)
            parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd, last = parent, here
    finally:
        os.close(fd)


def _into_itself(name: str) -> InvalidParameter:
    return InvalidParameter(
        f"cannot copy a directory, {name!r}, into itself",
        resolution="name a destination outside of it",
    )


def _identity(seen: os.stat_result) -> Identity:
    return seen.st_dev, seen.st_ino


def look(
    seen: os.stat_result, xattrs: dict[str, bytes], options: Options
) -> attributes.Attributes:
    """What a copy is to look like."""
    uid, gid = options.owner or options.owners(seen.st_uid, seen.st_gid)
    return attributes.Attributes(
        stat.S_IMODE(seen.st_mode), uid, gid, seen.st_mtime_ns, xattrs
    )


def _owned(wanted: attributes.Attributes, options: Options) -> attributes.Attributes:
    uid, gid = options.owner or options.owners(wanted.uid, wanted.gid)
    return wanted._replace(uid=uid, gid=gid)


def make_directory(dir_fd: int, base: str) -> int:
    """Open a directory to copy into, made if nothing is there. Raises Conflict for a file."""
    with suppress(FileExistsError):
        os.mkdir(base, 0o700, dir_fd=dir_fd)
    try:
        return os.open(base, _DIRECTORY, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise Conflict(f"cannot overwrite non-directory {base!r} with directory") from None
        raise


def create(dir_fd: int, base: str, mode: int, make_room: Callable[[], None]) -> tuple[int, bool]:
    """A new file, in the place of what is there; False with one that had to stay: a mount."""
    made: list[int] = []

    def make() -> None:
        made.append(os.open(base, _CREATE, mode & 0o777, dir_fd=dir_fd))

    try:
        in_place(make, make_room)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return _overwrite(dir_fd, base), False
    return made[0], True


def _overwrite(dir_fd: int, base: str) -> int:
    """A file that another is mounted on cannot be replaced, but written to."""
    fd = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), base)
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    finally:
        os.close(fd)


def in_place(make: Callable[[], None], make_room: Callable[[], None]) -> None:
    """Make something under a name, after what has it was taken away."""
    for attempt in range(_ATTEMPTS):
        try:
            make()
            return
        except FileExistsError:
            if attempt + 1 == _ATTEMPTS:
                raise
            make_room()


def clear(dir_fd: int, base: str, new: os.stat_result | None = None) -> None:
    """Take a file away. Raises Conflict for a directory, InvalidParameter for ``new`` itself."""
    try:
        there = os.stat(base, dir_fd=dir_fd, follow_symlinks=False)
        if stat.S_ISDIR(there.st_mode):
            raise Conflict(f"cannot overwrite directory {base!r} with non-directory")
        if new is not None and os.path.samestat(there, new):
            raise InvalidParameter(f"{base!r} and its copy are the same file")
        os.unlink(base, dir_fd=dir_fd)
    except FileNotFoundError:
        return


def _content(fd: int, out: int, seen: os.stat_result) -> int:
    """Copy a file's bytes, holes as holes; returns how many there are."""
    size = seen.st_size
    if size <= SMALL_BYTES and size - seen.st_blocks * 512 < SMALL_BYTES >> 2:
        return _small(fd, out, size)
    sink = FileSink(out)
    segments = map_of(fd, seen)
    if segments is None:
        sink.copy(fd, size)
        return size
    for offset, length in segments:
        os.lseek(fd, offset, os.SEEK_SET)
        os.lseek(out, offset, os.SEEK_SET)
        sink.copy(fd, length)
    os.ftruncate(out, size)
    return size


def _small(fd: int, out: int, size: int) -> int:
    # Files that say they are empty may have something all the same (proc(5)).
    data = os.read(fd, size or SMALL_BYTES)
    if data:
        view = memoryview(data)
        while view:
            view = view[os.write(out, view) :]
    return len(data)


def _up(fd: int, expected: Identity) -> int:
    """The directory above, which must be the one that the walk came from."""
    parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    if _identity(os.fstat(parent)) != expected:
        os.close(parent)
        raise OSError(errno.ESTALE, "a directory was moved while it was copied")
    return parent


def _beneath(top_fd: int, names: list[str]) -> int:
    fd = os.dup(top_fd)
    for name in names:
        try:
            deeper = libc.openat2(fd, name, os.O_PATH | os.O_DIRECTORY, resolve=_BELOW)
        finally:
            os.close(fd)
        fd = deeper
    return fd
