"""Completes a layer with what only the layers below it can tell.

A layer may link to a file that it does not contain, and it may contain members of directories
that it does not list. Tools that unpack layers one over the other get both right without
thinking; a layer of its own needs to be given the file, and the directories' looks.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.errors import Corrupt
from runengine.rootfs import attributes
from runengine.rootfs.attributes import IMPLICIT, Attributes
from runengine.rootfs.layertree import LayerTree, drop_whiteouts
from runengine.rootfs.stack import Found, Stack
from runengine.rootfs.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.rootfs.tree import Directory
    from runengine.rootfs.unpack import Unpacked

_CANNOT_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM)


def complete_layer(dest: str, unpacked: Unpacked, lowers: Sequence[str]) -> None:
    """Complete the layer at ``dest``; ``lowers`` are those below it, top first, and complete.

    A hard link into a lower layer becomes a further name of the same inode: layers are read-only,
    and an overlay mount then shows both names as one file. A directory that is not listed takes
    mode, owner, attributes and time of the one it is merged with; where the lowers have a link in
    its place, what the layer has in it goes to where the link leads.

    Whiteouts of nothing are removed where they would show. Raises Corrupt for a link to nothing,
    and OSError.
    """
    if not unpacked.needs_lowers:
        return
    root_fd = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    completion = _Completion(LayerTree(root_fd), dest, lowers)
    try:
        for name in unpacked.implicit_dirs:
            completion.adopt(name)
        for name, target in unpacked.links:
            completion.link(name, target)
        for name in unpacked.whiteout_dirs:
            completion.tidy(name)
        completion.set_looks()
    finally:
        completion.tree.close()
        os.close(root_fd)


class _Completion:
    """One layer being completed."""

    def __init__(self, tree: LayerTree, dest: str, lowers: Sequence[str]) -> None:
        self.tree = tree
        self._stack = Stack([dest, *lowers])
        self._lowers = Stack(lowers)
        self._looks: dict[str, Attributes] = {}
        self._moved: dict[str, str] = {}

    def adopt(self, name: str) -> None:
        """Give an unlisted directory its looks, parents before children."""
        path = self._current(name)
        folder, _, base = path.rpartition("/")
        below = self._stack.entry(folder, base, below_top=True)
        if below is None:
            return
        if below.is_directory:
            self._looks[path] = _look(below)
        elif below.is_link:
            self._redirect(path, below)

    def link(self, name: str, target: str) -> None:
        """Make a hard link to what the layers below have at ``target``.

        This layer did not have it when the link came, so what it did to the name later does not
        matter, nor where in the archive its whiteouts are.
        """
        path = self._current(name)
        source = self._stack.lookup(self._current(target), below_top=True)
        source = source or self._lowers.lookup(target)
        if source is None or source.is_directory:
            what = "a directory" if source else "what neither the layer nor those below it have"
            raise Corrupt(f"the layer's member {name!r} is a hard link to {target!r}, {what}")
        folder, _, base = path.rpartition("/")
        parent = self.tree.directory(folder)
        with _times_kept(parent):
            self._make_room(parent, base)
            _link(source, parent, base)

    def tidy(self, name: str) -> None:
        """Remove a directory's whiteouts if it turns out that there is nothing below it."""
        path = self._current(name)
        if not self._stack.is_merged(path):
            drop_whiteouts(self.tree, path)

    def set_looks(self) -> None:
        """Set the attributes of the unlisted directories, now that nothing is added to them."""
        looks = {self._current(path): look for path, look in self._looks.items()}
        for path in sorted(looks, key=lambda name: -name.count("/")):
            fd = self.tree.open(path, os.O_RDONLY)
            try:
                attributes.apply_fd(fd, looks[path])
            finally:
                os.close(fd)

    def _current(self, name: str) -> str:
        """Where something is by now that the archive calls ``name``."""
        # In the order of the moves: what was moved may have been moved on.
        for source, target in self._moved.items():
            if name == source or name.startswith(f"{source}/"):
                name = target + name[len(source) :]
        return name

    def _make_room(self, parent: Directory, base: str) -> None:
        """A whiteout spoke of the layers below only: the link takes its place."""
        try:
            seen = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if attributes.is_whiteout(seen):
            os.unlink(base, dir_fd=parent.fd)

    def _redirect(self, path: str, link: Found) -> None:
        """Move what an unlisted directory has to where the lowers' link of that name leads."""
        folder = path.rpartition("/")[0]
        try:
            target = self._stack.resolve(folder, os.readlink(f"{link.layer}/{link.path}"))
        except OSError:
            # It leads nowhere: the directory takes the link's place.
            return
        if not target or f"{target}/".startswith(f"{path}/"):
            return
        self._grow(target)
        self._merge(path, target)
        self._moved[path] = target
        self.tree.forget()
        self._stack.forget()

    def _grow(self, path: str) -> None:
        """Make a directory and its parents, all looking as they do below."""
        folder = ""
        for base in path.split("/"):
            parent = self.tree.directory(folder)
            with _times_kept(parent):
                inode = self.tree.make(parent, base)
            folder = parent.child(base)
            if inode in self.tree.attributes and folder not in self._looks:
                self._looks[folder] = self.tree.attributes[inode] or IMPLICIT
                if self.tree.attributes[inode] is None:
                    self.adopt(folder)
                self._stack.forget()

    def _merge(self, path: str, target: str) -> None:
        """Move the entries of one directory of this layer into another, and remove it."""
        todo = [(path, target)]
        emptied = []
        while todo:
            source, goal = todo.pop()
            emptied.append(source)
            todo += self._move_entries(source, goal)
        for source in reversed(emptied):
            folder, _, base = source.rpartition("/")
            parent = self.tree.directory(folder)
            with _times_kept(parent):
                os.rmdir(base, dir_fd=parent.fd)
            self.tree.forget()

    def _move_entries(self, source: str, goal: str) -> list[tuple[str, str]]:
        """Move what can be moved whole; returns directories that are on both sides."""
        here, there = self.tree.directory(source), self.tree.directory(goal)
        if attributes.is_opaque(here.fd):
            attributes.mark_opaque(there.fd)
        with _times_kept(there):
            names = os.listdir(f"/proc/self/fd/{here.fd}")
            both = [name for name in names if self._move(here, there, name)]
        return [(here.child(name), there.child(name)) for name in both]

    def _move(self, here: Directory, there: Directory, name: str) -> bool:
        """Move one entry; True if it is a directory on both sides."""
        moving = os.stat(name, dir_fd=here.fd, follow_symlinks=False)
        try:
            present = os.stat(name, dir_fd=there.fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, name, src_dir_fd=here.fd, dst_dir_fd=there.fd)
            return False
        if attributes.is_whiteout(moving):
            os.unlink(name, dir_fd=here.fd)
            if stat.S_ISDIR(present.st_mode):
                self.tree.hide_lowers(there, name)
            return False
        if stat.S_ISDIR(moving.st_mode) and stat.S_ISDIR(present.st_mode):
            return True
        self.tree.clear(there, name)
        os.rename(name, name, src_dir_fd=here.fd, dst_dir_fd=there.fd)
        if stat.S_ISDIR(moving.st_mode):
            self.tree.hide_lowers(there, name)
        return False


def _look(found: Found) -> Attributes:
    fd = os.open(f"{found.layer}/{found.path}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return attributes.read_fd(fd)
    finally:
        os.close(fd)


def _link(source: Found, parent: Directory, base: str) -> None:
    """Give a file of any layer one more name; if it cannot have more, a copy gets it."""
    folder, _, name = source.path.rpartition("/")
    layer_fd = os.open(source.layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = Tree(layer_fd).open(folder)
        try:
            _link_or_copy(fd, name, parent, base)
        finally:
            os.close(fd)
    finally:
        os.close(layer_fd)


def _link_or_copy(fd: int, name: str, parent: Directory, base: str) -> None:
    try:
        os.link(name, base, src_dir_fd=fd, dst_dir_fd=parent.fd, follow_symlinks=False)
    except FileExistsError:
        # A later member of the layer has the name.
        return
    except OSError as error:
        seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if error.errno not in _CANNOT_LINK or not stat.S_ISREG(seen.st_mode):
            raise
        _copy(fd, name, parent, base)


def _copy(fd: int, name: str, parent: Directory, base: str) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    source = os.open(name, os.O_RDONLY | flags, dir_fd=fd)
    try:
        create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags
        target = os.open(base, create, 0o600, dir_fd=parent.fd)
        try:
            while os.sendfile(target, source, None, 1 << 30):
                pass
            attributes.apply_fd(target, attributes.read_fd(source))
        finally:
            os.close(target)
    finally:
        os.close(source)


@contextmanager
def _times_kept(directory: Directory) -> Iterator[None]:
    """Changing its entries shall not show in the directory's time."""
    seen = os.fstat(directory.fd)
    yield
    path = f"/proc/self/fd/{directory.fd}"
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
