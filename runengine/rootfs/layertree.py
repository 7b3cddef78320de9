"""The directories of a layer while it is being put together."""

from __future__ import annotations

import os
import stat

from runengine.errors import InvalidParameter
from runengine.rootfs import attributes
from runengine.rootfs.attributes import IMPLICIT, Attributes
from runengine.rootfs.tree import Directory, Tree
from runengine.rootfs.walk import remove_tree

MAX_KEPT_BYTES = 1 << 26
"""Length of all names that must be remembered until the layers below are known.

A single name can call for thousands of directories, each with a long name of its own.
"""


class LayerTree(Tree):
    """A tree whose missing directories are made, with attributes to be set in the end."""

    def __init__(self, root_fd: int) -> None:
        super().__init__(root_fd)
        self.attributes: dict[int, Attributes | None] = {}
        """By inode, as a directory can have several names; None if it is not listed (yet)."""
        self._kept_bytes = 0
        self.opaque: set[int] = set()
        """Inodes of directories that hide what the layers below have in them."""
        self.replaced = False
        """Whether anything was removed again."""
        self.present = Tree(root_fd)
        """The same tree, where nothing is made on the way."""

    def make(self, parent: Directory, name: str) -> int:
        """Make a directory, or keep the one that is there; returns its inode.

        Anything else that is there is replaced. It hid what the layers below have under the name,
        and so does the new directory.
        """
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            seen = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                return seen.st_ino
            self.clear(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent.fd)
            return self.hide_lowers(parent, name)
        inode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_ino
        self.attributes[inode] = None
        return inode

    def hide_lowers(self, parent: Directory, name: str) -> int:
        """Let a directory show nothing of the layers below; returns its inode."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            inode = self.mark_opaque(fd)
        finally:
            os.close(fd)
        if self.attributes.get(inode) is None:
            self.attributes[inode] = IMPLICIT
        return inode

    def mark_opaque(self, fd: int) -> int:
        """Let an open directory hide what the layers below have in it; returns its inode."""
        attributes.mark_opaque(fd)
        inode = os.fstat(fd).st_ino
        self.opaque.add(inode)
        return inode

    def clear(self, parent: Directory, name: str) -> None:
        """Remove what is in the way."""
        self.replaced = True
        seen = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            remove_tree(f"/proc/self/fd/{parent.fd}/{name}")
            self.forget()
        else:
            os.unlink(name, dir_fd=parent.fd)
            if stat.S_ISLNK(seen.st_mode):
                self.forget()

    def forget(self) -> None:
        """Trust no descriptor any more: what they were opened by has changed."""
        super().forget()
        self.present.forget()

    def close(self) -> None:
        """Close every descriptor."""
        super().close()
        self.present.close()

    def missing(self, parent: Directory, name: str) -> None:
        """Make the directory."""
        self.keep(len(parent.path) + len(name))
        self.make(parent, name)

    def keep(self, size: int) -> None:
        """Account for names that must be remembered. Raises InvalidParameter if it is too much."""
        self._kept_bytes += size
        if self._kept_bytes > MAX_KEPT_BYTES:
            raise InvalidParameter(
                "the layer speaks of too many things that it does not contain",
                details=f"their names are longer than {MAX_KEPT_BYTES} bytes in all",
            )

    def is_absent(self, seen: os.stat_result) -> bool:
        """A whiteout gives way to a directory, a file does not."""
        return attributes.is_whiteout(seen)


def drop_whiteouts(tree: Tree, path: str) -> None:
    """Remove the whiteouts in a directory that merges with nothing, times kept.

    The kernel does not hide them there: they would be listed, but not be found.
    """
    fd = tree.open(path, os.O_RDONLY)
    try:
        before = os.fstat(fd)
        for name in os.listdir(fd):
            if attributes.is_whiteout(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                os.unlink(name, dir_fd=fd)
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)
