"""Files of a container as a tar stream, out and in, and what a path in it is.

Row by row Docker's ``HEAD``, ``GET`` and ``PUT /containers/{id}/archive``. None of them keeps the
container's lock while a client reads or writes.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath
import stat
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import EngineError, InvalidParameter
from runengine.linux import clock
from runengine.mgr.container import copy_rules, observe, view
from runengine.mgr.container.copy_rules import Side
from runengine.mgr.container.copying import failure, user_of
from runengine.rootfs.transfer import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.container.context import Context
    from runengine.mgr.container.view import View
    from runengine.rootfs.extract import Extracted
    from runengine.rootfs.inflate import Source
    from runengine.rootfs.places import Entry

_COPY_BYTES = 1 << 20
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class PathStat(NamedTuple):
    """What Docker's header X-Docker-Container-Path-Stat says of a path."""

    name: str
    size: int
    mode: int
    """In the bits of Go's ``fs.FileMode``."""
    mtime: str
    """RFC 3339."""
    link_target: str
    """Of a link: the name from the root, without links, of what it leads to."""

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return bool(self.mode & _GO_TYPES[stat.S_IFDIR])

    @property
    def header(self) -> str:
        """The header's value."""
        document = {
            "name": self.name,
            "size": self.size,
            "mode": self.mode,
            "mtime": self.mtime,
            "linkTarget": self.link_target,
        }
        return base64.b64encode(json.dumps(document).encode()).decode()


class Archive:
    """Files that are found and open, ready to be written out as a tar."""

    def __init__(self, opened: View, entry: Entry, path: str, what: PathStat) -> None:
        self.stat = what
        self._view = opened
        self._entry = entry
        self._path = path

    def write(self, fd: int) -> None:
        """Write the archive to an open file, pipe or socket. Raises EngineError, OSError of it."""
        from runengine.rootfs.gather import write_archive

        own = copy_rules.own_name(posixpath.join("/", self._path))
        name = "." if copy_rules.names_contents(self._path) else own
        try:
            write_archive(
                fd,
                self._entry,
                name,
                hidden=self._view.hidden,
                check=self._view.check,
                owners=self._view.owners_inside,
            )
        except BrokenPipeError:
            raise
        except OSError as error:
            raise failure(error, f"{self._view.record.name}:{self._path}") from error


def stat_path(context: Context, name: str, path: str) -> PathStat:
    """What ``path`` in a container is; a link is not followed.

    Raises InvalidParameter (empty), NotFound, Conflict (the container is being removed).
    """
    _require(path)
    with view.opened(context, name) as opened:
        side = Side(opened.places, opened.record.name)
        return _stat(opened, copy_rules.find_source(side, path, follow=False), path)


def is_directory(context: Context, name: str, path: str) -> bool:
    """Whether ``path`` leads to a directory, links followed. Raises like ``stat_path``."""
    _require(path)
    with view.opened(context, name) as opened:
        try:
            return opened.places.target(path).is_dir
        except OSError:
            return False


def _require(path: str) -> None:
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")


def _stat(opened: View, entry: Entry, path: str) -> PathStat:
    seen = entry.seen
    mode = stat.S_IMODE(seen.st_mode) & 0o777 | _GO_TYPES.get(stat.S_IFMT(seen.st_mode), 0)
    mode |= sum(bit for mark, bit in _GO_BITS.items() if seen.st_mode & mark)
    link = ""
    if stat.S_ISLNK(seen.st_mode):
        try:
            link = opened.places.real_name(path)
        except OSError:  # it leads nowhere, or in a circle
            link = posixpath.join("/", os.readlink(entry.base, dir_fd=entry.dir_fd))
    mtime = clock.format_ns(seen.st_mtime_ns)
    name = copy_rules.own_name(posixpath.join("/", path))
    return PathStat(name if name != "." else "/", seen.st_size, mode, mtime, link)


@contextmanager
def archive_path(
    context: Context, name: str, path: str, *, follow: bool = False
) -> Iterator[Archive]:
    """A file or tree of a container, to be written as a tar while the block runs.

    A link is archived as one, unless ``follow``. Raises like ``stat_path``; if the container
    stops or goes meanwhile, Conflict or NotFound.
    """
    _require(path)
    with view.opened(context, name) as opened:
        side = Side(opened.places, opened.record.name)
        entry = copy_rules.find_source(side, path, follow=follow)
        yield Archive(opened, entry, path, _stat(opened, entry, path))
        context.events.container("archive-path", opened.record, path=path)


def extract_to_dir(
    context: Context,
    name: str,
    path: str,
    source: Source,
    *,
    no_overwrite_dir_non_dir: bool = False,
    copy_uid_gid: bool = False,
) -> Extracted:
    """Extract a tar stream, compressed or not, into a directory of a container.

    ``no_overwrite_dir_non_dir``: no file takes the place of a directory, nor the other way round.
    ``copy_uid_gid``: all of it belongs to the user that the container runs as. Raises
    InvalidParameter (empty path, not a directory, a hostile archive), NotFound, Conflict
    (read-only), Corrupt, EngineError (a full disk).
    """
    _require(path)
    with ExitStack() as stack:
        if not _runs(context, name):
            # Its lock is held while it is written to: not as long as somebody sends, though.
            source = stack.enter_context(_spooled(context, source))
        opened = stack.enter_context(view.opened(context, name, write=True))
        done = _extract(
            opened, path, source, replace=not no_overwrite_dir_non_dir, own=copy_uid_gid
        )
        context.events.container("extract-to-dir", opened.record, path=path)
    return done


def _extract(opened: View, path: str, source: Source, *, replace: bool, own: bool) -> Extracted:
    from runengine.rootfs.extract import extract

    side = Side(opened.places, opened.record.name)
    target = copy_rules.find_target(side, path)
    if target.seen is None:
        raise copy_rules.no_file(side, path)
    if not target.is_dir:
        raise InvalidParameter(
            "extraction point is not a directory", details=side.describe(path)
        )
    copy_rules.check_writable(side, opened, target)
    owner = user_of(opened) if own else None
    options = Options(
        owner=opened.owners_outside(*owner) if owner else None,
        owners=opened.owners_outside,
        check=opened.check,
    )
    folder = opened.places.name_of(target.dir_fd)
    return extract(source, opened.root_fd, folder, options, replace=replace)


def _runs(context: Context, name: str) -> bool:
    record = context.store.containers.get(context.resolve(name))
    return observe.is_live(observe.observe(context, record))


@contextmanager
def _spooled(context: Context, source: Source) -> Iterator[Any]:
    """All of the stream, on disk under no name if it is more than a little."""
    with tempfile.SpooledTemporaryFile(_COPY_BYTES, dir=context.paths.root) as spool:
        try:
            while piece := source.read(_COPY_BYTES):
                spool.write(piece)
            spool.seek(0)
        except OSError as error:
            raise EngineError(
                "cannot keep the archive until it is extracted",
                details=error.strerror,
                resolution=f"see whether {context.paths.root} has room",
            ) from error
        yield spool
