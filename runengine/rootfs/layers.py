"""The store of unpacked layers: staged under a lock, committed by rename, swept by mark.

    <root>/<key>/diff              the layer's files, as an overlay wants them
    <root>/<key>/layer.json        sizes; there or not together with diff
    <root>/staging/<id>/           a layer being unpacked or removed
    <root>/staging/<id>.lock       held as long as somebody works on it; otherwise it is garbage

Who may remove a layer, and when nobody else can be about to use it, is for the caller to know.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound, StateError
from runengine.linux import fsatomic, libc, locks
from runengine.rootfs.usage import disk_usage
from runengine.rootfs.walk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runengine.rootfs.usage import Usage

_KEY = re.compile(r"[0-9a-f]{64}")
_STAGING = "staging"


class LayerInfo(NamedTuple):
    """What is known of a committed layer."""

    tar_bytes: int
    """Length of the uncompressed archive."""
    size_bytes: int
    """Disk blocks in use, in bytes."""
    inodes: int
    blob: str = ""
    """Digest of the layer as it came, where it is kept as well."""


class Swept(NamedTuple):
    """Outcome of a sweep."""

    removed: list[str]
    """Keys of layers."""
    freed_bytes: int


class Staging:
    """A layer under way. Fill ``diff``, then ``commit``; otherwise it goes with its block."""

    def __init__(self, store: LayerStore, name: str) -> None:
        self._store = store
        self.directory = f"{store.staging}/{name}"
        self.diff = f"{self.directory}/diff"

    def commit(
        self,
        key: str,
        *,
        tar_bytes: int = 0,
        durable: bool = True,
        blob: str = "",
        usage: Usage | None = None,
    ) -> bool:
        """Make ``diff`` the layer ``key``; False if another process was faster with the same.

        ``usage`` of ``diff`` is found out where it is not known.
        With ``durable`` everything is on disk before the layer can be found, by one syncfs(2).
        Without it the caller has synced the filesystem itself (``LayerStore.sync``).
        """
        target = self._store.directory(key)
        self._describe(tar_bytes, blob, usage)
        if durable:
            self._store.sync()
        try:
            os.rename(self.directory, target)
        except OSError:
            # A directory that is not empty cannot be replaced, and every layer has two entries.
            if self._store.has(key):
                return False
            raise
        if durable:
            fsatomic.sync_directory(self._store.root)
        return True

    def replace(self, key: str, *, tar_bytes: int = 0, blob: str = "") -> None:
        """Let ``diff`` and the layer ``key``, which is damaged, change places at once.

        The old one goes with this block: nobody may have it mounted.
        """
        self._describe(tar_bytes, blob)
        self._store.sync()
        libc.exchange(self.directory, self._store.directory(key))
        fsatomic.sync_directory(self._store.root)

    def _describe(self, tar_bytes: int, blob: str, usage: Usage | None = None) -> None:
        info = LayerInfo(tar_bytes, *(usage or disk_usage(self.diff)), blob)
        fsatomic.replace_json(f"{self.directory}/layer.json", info._asdict(), durable=False)


class LayerStore:
    """Layers of one engine, by key: hex of the diff id, or of a chain id.

    A chain id is the key of a layer that needed the layers below it to be complete. The root
    directory is closed to everybody but its owner: layers hold set-user-id programs and devices.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.staging = f"{root}/{_STAGING}"

    def directory(self, key: str) -> str:
        """Where the layer is, or would be. Raises InvalidParameter for a malformed key."""
        if not _KEY.fullmatch(key):
            raise InvalidParameter(f"invalid layer key {key!r}: expected 64 hex digits")
        return f"{self.root}/{key}"

    def path(self, key: str) -> str:
        """The layer's files."""
        return f"{self.directory(key)}/diff"

    def has(self, key: str) -> bool:
        """Whether the layer is there, whole."""
        return os.path.isdir(self.path(key))

    def keys(self) -> list[str]:
        """Keys of all layers, sorted."""
        try:
            return sorted(name for name in os.listdir(self.root) if _KEY.fullmatch(name))
        except FileNotFoundError:
            return []

    def info(self, key: str) -> LayerInfo:
        """Sizes of a layer. Raises NotFound, or StateError if the record is damaged."""
        data = fsatomic.read_optional(f"{self.directory(key)}/layer.json")
        if data is None:
            raise NotFound(f"No such layer: {key}", resolution="pull its image again")
        try:
            return LayerInfo(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise StateError(
                f"{self.root}/{key}/layer.json is damaged", resolution="pull its image again"
            ) from error

    def size(self, key: str) -> int:
        """Disk blocks in use by a layer, in bytes. Raises NotFound."""
        return self.info(key).size_bytes

    def size_or_zero(self, key: str) -> int:
        """The same, 0 where it is not known."""
        try:
            return self.size(key)
        except (NotFound, StateError):
            return 0

    @contextmanager
    def stage(self) -> Iterator[Staging]:
        """A place to unpack a layer in; gone afterwards unless it was committed."""
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        os.makedirs(self.staging, mode=0o700, exist_ok=True)
        with self._claimed(os.urandom(8).hex()) as name:
            staging = Staging(self, name)
            os.mkdir(staging.directory, 0o700)
            os.mkdir(staging.diff, 0o755)
            yield staging

    def remove(self, key: str) -> int:
        """Remove a layer; returns the bytes freed. Raises NotFound.

        It is gone for others at once; if this process dies meanwhile, a sweep takes the rest.
        """
        size = self.size_or_zero(key)
        os.makedirs(self.staging, mode=0o700, exist_ok=True)
        with self._claimed(os.urandom(8).hex()) as name:
            try:
                os.rename(self.directory(key), f"{self.staging}/{name}")
            except FileNotFoundError:
                raise NotFound(f"No such layer: {key}") from None
        return size

    def sweep(self, keep: Collection[str]) -> Swept:
        """Remove every layer that ``keep`` does not name, and what dead processes have left."""
        removed = [key for key in self.keys() if key not in keep]
        freed = sum(self.remove(key) for key in removed)
        return Swept(removed, freed + self.sweep_staging())

    def sweep_staging(self) -> int:
        """Remove what dead processes have left half-done; returns the bytes freed."""
        freed = 0
        for name in self._staged():
            try:
                with self._claimed(name, timeout_s=0):
                    path = f"{self.staging}/{name}"
                    freed += disk_usage(path).size_bytes if os.path.isdir(path) else 0
            except TimeoutError:
                continue
        return freed

    def abandoned(self) -> list[tuple[str, int]]:
        """What dead processes have left half-done: names, and bytes on disk."""
        found = []
        for name in sorted(self._staged()):
            path = f"{self.staging}/{name}"
            if not locks.is_locked(f"{path}.lock"):
                size = disk_usage(path).size_bytes if os.path.isdir(path) else 0
                found.append((name, size))
        return found

    def sync(self) -> None:
        """Write out the filesystem that the layers are on (syncfs(2))."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc.syncfs(fd)
        finally:
            os.close(fd)

    def _staged(self) -> set[str]:
        try:
            return {name.removesuffix(".lock") for name in os.listdir(self.staging)}
        except FileNotFoundError:
            return set()

    @contextmanager
    def _claimed(self, name: str, timeout_s: float | None = None) -> Iterator[str]:
        """Hold the lock of a staging directory; in the end both go, the directory first."""
        path = f"{self.staging}/{name}"
        with locks.locked(f"{path}.lock", timeout_s=timeout_s):
            try:
                yield name
            finally:
                remove_tree(path)
                os.unlink(f"{path}.lock")
