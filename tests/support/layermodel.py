"""What layers mean, as a model in memory: each is applied to the tree that the others have left.

This is how umoci and the image specification put it, and nothing here knows of overlay mounts:
the unpacker and the kernel together must come to the same tree.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import Any

from tests.support.treecmp import manifest

MAX_LINKS = 40


class Refused(Exception):
    """No tool accepts such a layer."""


class Loop(Refused):
    """Links that lead to each other."""


class Node:
    """A file of any kind; two names of one file are one node."""

    def __init__(self, kind: int, look: tuple[Any, ...] = (), data: Any = None) -> None:
        self.kind = kind
        self.look = look
        self.data = data
        self.children: dict[str, Node] = {}
        self.layers: dict[str, int] = {}
        """The last layer that had something to say about a child."""

    @property
    def is_directory(self) -> bool:
        """Whether it can have children."""
        return self.kind == stat.S_IFDIR


class Model:
    """A root filesystem.

    With ``open_below`` there may be more layers below: a hard link to nothing then becomes a node
    of kind 0. With ``fair`` it refuses layers that take back what they have said themselves.
    """

    def __init__(self, *, open_below: bool = False, fair: bool = False) -> None:
        self.root = Node(stat.S_IFDIR)
        self.layer = 0
        self._open_below = open_below
        self._fair = fair

    def apply(self, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        """Apply one layer. Raises Refused."""
        self.layer += 1
        for info, data in members:
            parts = split(info.name)
            if ".." in parts:
                raise Refused(info.name)
            if not parts:
                if info.type != tarfile.DIRTYPE:
                    raise Refused(info.name)
                continue
            if not self._special(parts):
                self._place(parts, info, data)

    def flatten(self) -> dict[str, tuple[Any, ...]]:
        """Every name with kind, look and content, and which names are the same file."""
        found: dict[str, Node] = {}
        todo = [("", self.root)]
        while todo:
            path, node = todo.pop()
            for name, child in node.children.items():
                found[f"{path}/{name}"] = child
                todo.append((f"{path}/{name}", child))
        names: dict[int, list[str]] = {}
        for path, node in sorted(found.items()):
            names.setdefault(id(node), []).append(path)
        return {
            path: (node.kind, node.look, node.data, tuple(names[id(node)]))
            for path, node in found.items()
        }

    def _special(self, parts: list[str]) -> bool:
        *folder, base = parts
        if any(part.startswith(".wh..wh.") for part in folder):
            return True
        if any(part.startswith(".wh.") for part in folder):
            raise Refused("below a whiteout")
        if base == ".wh..wh..opq":
            self._hide_children(self._directory(folder))
            return True
        if base.startswith(".wh..wh."):
            return True
        if not base.startswith(".wh."):
            return False
        name = base.removeprefix(".wh.")
        if name in ("", ".", ".."):
            raise Refused(base)
        parent = self._directory(folder)
        node = parent.children.get(name)
        if node is not None and parent.layers[name] < self.layer:
            del parent.children[name]
        elif node is not None and node.is_directory:
            self._hide_children(node)
        return True

    def _hide_children(self, node: Node) -> None:
        for name, child in list(node.children.items()):
            if node.layers[name] < self.layer:
                del node.children[name]
            elif child.is_directory:
                self._hide_children(child)

    def _place(self, parts: list[str], info: tarfile.TarInfo, data: bytes) -> None:
        *folder, base = parts
        parent = self._directory(folder)
        present = parent.children.get(base)
        if self._fair and present is not None and parent.layers[base] == self.layer:
            self._check_fair(present, info)
        if info.type == tarfile.LNKTYPE:
            folder_of_target, target = self._find(split(info.linkname))
            if _contains(present, folder_of_target):
                raise Refused("replaces the directory that its target is in")
            if target is None and self._open_below:
                target = Node(0)
            if target is None or target.is_directory:
                raise Refused(info.linkname)
            is_link = target.kind == stat.S_IFLNK
            if self._fair and is_link and self._is_below(folder_of_target, info):
                raise Refused("links to a link below, which it may go through as well")
            parent.children[base] = target
            parent.layers[base] = self.layer
            return
        parent.layers[base] = self.layer
        node = _node(info, data)
        if node.is_directory and present is not None and present.is_directory:
            present.look = node.look
        else:
            parent.children[base] = node

    def _is_below(self, folder: Node | None, info: tarfile.TarInfo) -> bool:
        """Whether a link's target comes from a layer below."""
        return folder is None or folder.layers.get(split(info.linkname)[-1]) != self.layer

    def _check_fair(self, present: Node, info: tarfile.TarInfo) -> None:
        if not present.is_directory or info.type != tarfile.DIRTYPE:
            raise Refused(f"{info.name} is there twice")

    def _find(self, parts: list[str]) -> tuple[Node | None, Node | None]:
        """A file, and the directory that it is in."""
        if ".." in parts:
            raise Refused("..")
        if not parts:
            return None, self.root
        try:
            parent = self._walk(parts[:-1], make=False)
        except Loop:
            raise
        except Refused:
            return None, None
        child = parent.children.get(parts[-1])
        return parent if child else None, child

    def _directory(self, parts: list[str]) -> Node:
        """The directory, made if need be; all on the way there belong to this layer then."""
        return self._walk(parts, make=True)

    def _walk(self, parts: list[str], *, make: bool) -> Node:
        done: list[str] = []
        todo = parts[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                del done[-1:]
                continue
            node = self._at([*done, part])
            if node is None or node.is_directory:
                done.append(part)
                continue
            links += 1
            if links > MAX_LINKS:
                raise Loop(part)
            if node.kind != stat.S_IFLNK:
                raise Refused("no directory")
            if node.data.startswith("/"):
                done = []
            todo.extend(split(node.data)[::-1])
        return self._grow(done, make=make)

    def _at(self, parts: list[str]) -> Node | None:
        node: Node | None = self.root
        for part in parts:
            if node is None or not node.is_directory:
                return None
            node = node.children.get(part)
        return node

    def _grow(self, parts: list[str], *, make: bool) -> Node:
        node = self.root
        for part in parts:
            child = node.children.get(part)
            if child is None:
                if not make:
                    raise Refused("nothing there")
                child = node.children[part] = Node(stat.S_IFDIR, (0o755,))
            if make:
                node.layers[part] = self.layer
            node = child
        return node


def _contains(top: Node | None, node: Node | None) -> bool:
    if top is None or node is None:
        return False
    return top is node or any(_contains(child, node) for child in top.children.values())


def _node(info: tarfile.TarInfo, data: bytes) -> Node:
    look = (info.mode,)
    if info.type == tarfile.SYMTYPE:
        return Node(stat.S_IFLNK, (), info.linkname)
    if info.type == tarfile.DIRTYPE:
        return Node(stat.S_IFDIR, look)
    if info.type == tarfile.FIFOTYPE:
        return Node(stat.S_IFIFO, look)
    return Node(stat.S_IFREG, look, data)


def split(name: str) -> list[str]:
    """The components that count."""
    return [part for part in name.split("/") if part not in ("", ".")]


def seen(root: Any) -> dict[str, tuple[Any, ...]]:
    """The tree in the model's form."""
    return {
        "/" + os.fsdecode(name): (
            entry.kind,
            () if stat.S_ISLNK(entry.kind) else (entry.mode,),
            _content(root, name, entry.kind),
            ("/" + os.fsdecode(name),)
            if stat.S_ISDIR(entry.kind)
            else tuple("/" + os.fsdecode(other) for other in entry.names),
        )
        for name, entry in manifest(root).items()
        if name
    }


def _content(root: Any, name: bytes, kind: int) -> str | bytes | None:
    path = os.path.join(os.fsencode(root), name)
    if stat.S_ISLNK(kind):
        return os.fsdecode(os.readlink(path))
    if stat.S_ISREG(kind):
        with open(path, "rb") as file:
            return file.read()
    return None
