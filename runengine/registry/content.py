"""Content store: blobs by digest, verified, read-only; partial downloads kept for resuming.

``sha256/<hex>`` is whole and right; ``partial/<hex>`` is the beginning of a blob. A writer holds
flock(2) on the partial file itself, so a killed process leaves the partial and nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from runengine.errors import Corrupt, EngineError, NotFound, TimedOut
from runengine.ids import Digest, check_digest, hex_of
from runengine.linux import fsatomic, libc
from runengine.linux.locks import POLL_INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

PARTIAL_LIFE_S = 7 * 86400.0
"""A partial that nobody took up again for a week is garbage."""
_HASH_CHUNK_BYTES = 1 << 20
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_HEX_DIGITS = frozenset("0123456789abcdef")


class ContentStore:
    """Blobs in one directory (``Paths.blobs``); any number of processes may share it."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self._whole = self.root / "sha256"
        self._partial = self.root / "partial"

    def path(self, digest: str) -> str:
        """Where the blob is, or would be. Raises InvalidParameter for a bad digest."""
        return str(self._whole / hex_of(check_digest(digest)))

    def partial_path(self, digest: str) -> str:
        """Where the blob's beginning is while it is not whole."""
        return str(self._partial / hex_of(check_digest(digest)))

    def has(self, digest: str) -> bool:
        """Whether the blob is here, whole."""
        return Path(self.path(digest)).is_file()

    def size(self, digest: str) -> int:
        """The blob's size in bytes. Raises NotFound."""
        try:
            return Path(self.path(digest)).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def open(self, digest: str) -> BinaryIO:
        """Open the blob for reading. Raises NotFound."""
        try:
            return Path(self.path(digest)).open("rb")
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: str, limit: int) -> bytes:
        """The blob's bytes. Raises NotFound, Corrupt if there are more than ``limit``."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(f"blob {digest} is longer than the limit of {limit} bytes")
        return data

    def put(self, data: bytes, *, durable: bool = True) -> Digest:
        """Store ``data`` and return its digest.

        Without ``durable`` the caller syncs the filesystem before it counts on it; what a crash
        before that has left of it is replaced the next time.
        """
        import hashlib

        digest = Digest("sha256:" + hashlib.sha256(data).hexdigest())
        if self._is_damaged(digest, data):
            self.remove(digest)
        with self.writer(digest, len(data)) as writer:
            if not writer.is_complete:
                writer.restart()
                writer.write(data)
            writer.commit(durable=durable)
        return digest

    def _is_damaged(self, digest: Digest, data: bytes) -> bool:
        try:
            return self.read(digest, len(data)) != data
        except NotFound:
            return False
        except Corrupt:
            return True

    def writer(
        self, digest: str, size: int | None = None, *, timeout_s: float | None = None
    ) -> BlobWriter:
        """Begin or take up the download of a blob; waits while another writer has it.

        Its ``offset`` says how many bytes are there already; if it is ``size``, somebody else
        finished meanwhile and ``commit`` has nothing left to do. ``size`` None is unbounded.
        Raises TimedOut after ``timeout_s`` of waiting.
        """
        return BlobWriter(self, check_digest(digest), size, timeout_s)

    def remove(self, digest: str) -> int:
        """Delete the blob if it is there; return the bytes freed."""
        path = Path(self.path(digest))
        try:
            freed = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return freed

    def digests(self) -> set[Digest]:
        """Every whole blob."""
        return {Digest(f"sha256:{name}") for name in _names(self._whole) if _is_hex(name)}

    def sweep(
        self, keep: Collection[str], *, partial_life_s: float = PARTIAL_LIFE_S
    ) -> tuple[list[Digest], int]:
        """Delete every blob not in ``keep`` and stale partials: (digests removed, bytes freed).

        The caller sees to it that no pull counts on a blob that it has not recorded yet. A
        partial is stale when no writer holds it and it was last written ``partial_life_s`` ago;
        what has no digest for a name cannot be taken up again and is stale at once.
        """
        removed = sorted(self.digests() - set(keep))
        freed = sum(self.remove(digest) for digest in removed)
        for name, size in self.stale_partials(partial_life_s):
            if _remove_unheld(self._partial / name):
                freed += size
        return removed, freed

    def stale_partials(self, partial_life_s: float = PARTIAL_LIFE_S) -> list[tuple[str, int]]:
        """Beginnings of blobs that ``sweep`` would delete: names, and bytes."""
        now = time.time()
        found = []
        for name in sorted(_names(self._partial)):
            life_s = partial_life_s if _is_hex(name) else 0.0
            size = _stale_size(self._partial / name, now, life_s)
            if size is not None:
                found.append((name, size))
        return found

    def sync(self) -> None:
        """Write out the filesystem that the blobs are on (syncfs(2))."""
        self.ensure_directories()
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc.syncfs(fd)
        finally:
            os.close(fd)

    def ensure_directories(self) -> None:
        """Make the store's directories."""
        self._whole.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._partial.mkdir(mode=0o700, exist_ok=True)


class BlobWriter:
    """One blob on its way in, under its lock. Leaving the context uncommitted keeps the partial,
    unless the content or the disk was at fault.
    """

    def __init__(
        self, store: ContentStore, digest: Digest, size: int | None, timeout_s: float | None
    ) -> None:
        import hashlib

        self.digest = digest
        self.size = size
        self.offset = 0
        self.is_complete = False
        self._store = store
        self._hash = hashlib.sha256()
        self._path = Path(store.partial_path(digest))
        store.ensure_directories()
        self._fd = _open_locked(self._path, timeout_s)
        try:
            self._take_up()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd < 0:
            return
        if isinstance(error, Corrupt):
            self.discard()
        else:
            self.abandon()

    def write(self, data: bytes | memoryview, *, hashing: bool = True) -> None:
        """Append ``data``; without ``hashing`` for a ``commit`` that says the hash.

        Raises Corrupt beyond the blob's size, EngineError on a full disk.
        """
        if self.size is not None and self.offset + len(data) > self.size:
            raise Corrupt(f"blob {self.digest} is longer than its size of {self.size} bytes")
        try:
            fsatomic.write_all(self._fd, data)
        except OSError as error:
            self.discard()
            raise _cannot_write(self.digest, self._store.root, error) from error
        if hashing:
            self._hash.update(data)
        self.offset += len(data)

    def read_back(self) -> BinaryIO:
        """Open the bytes before ``offset``, for whoever unpacks while we resume."""
        path = self._store.path(self.digest) if self.is_complete else self._path
        return Path(path).open("rb")

    def restart(self) -> None:
        """Forget what is there and begin at offset 0."""
        import hashlib

        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.offset = 0

    def commit(self, *, durable: bool = True, hashed: str | None = None) -> Digest:
        """Verify size and hash, then move the blob into place, read-only.

        ``hashed`` is its sha256 in hex by who has hashed all of it in place of ``write``. Raises
        Corrupt, after which nothing of it is left.
        """
        if self.is_complete:
            self._release()
            return self.digest
        self._verify(hashed or self._hash.hexdigest())
        try:
            os.fchmod(self._fd, 0o444)
            if durable:
                os.fsync(self._fd)
            self._path.rename(self._store.path(self.digest))
        except OSError as error:
            self.discard()
            raise _cannot_write(self.digest, self._store.root, error) from error
        self._release()
        if durable:
            fsatomic.sync_directory(str(Path(self._store.path(self.digest)).parent))
        return self.digest

    def abandon(self) -> None:
        """Stop here and keep the beginning for a later writer."""
        if self.is_complete or self.offset:
            self._release()
        else:
            self.discard()

    def discard(self) -> None:
        """Stop here and delete the beginning."""
        if self._fd < 0:
            return
        if not self.is_complete:
            self._path.unlink(missing_ok=True)
        self._release()

    def _take_up(self) -> None:
        if self._store.has(self.digest):
            self._path.unlink(missing_ok=True)
            self.offset = self._store.size(self.digest)
            self.is_complete = True
            return
        if self.size is not None and os.fstat(self._fd).st_size > self.size:
            os.ftruncate(self._fd, 0)
        while chunk := os.read(self._fd, _HASH_CHUNK_BYTES):
            self._hash.update(chunk)
            self.offset += len(chunk)

    def _verify(self, hashed: str) -> None:
        if self.size is not None and self.offset != self.size:
            found = self.offset
            self.discard()
            raise Corrupt(f"blob {self.digest} has {found} bytes instead of {self.size}")
        actual = f"sha256:{hashed}"
        if actual != self.digest:
            self.discard()
            raise Corrupt(f"blob {self.digest} has the wrong content", details=f"it is {actual}")

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_locked(path: Path, timeout_s: float | None) -> int:
    """Open the partial and lock it; it may be renamed or deleted while we wait, so look again."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(fd, deadline, path)
            if _is_same_file(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, deadline: float | None, path: Path) -> None:
    if deadline is None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimedOut(
                    f"blob sha256:{path.name} is being downloaded by another process"
                ) from None
            time.sleep(POLL_INTERVAL_S)


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _stale_size(path: Path, now: float, life_s: float) -> int | None:
    """Bytes of a partial that was not written within ``life_s`` and that no writer holds.

    One from the future was written before the clock was set back, whenever that was.
    """
    with _unheld(path) as fd:
        status = os.fstat(fd) if fd is not None else None
        return status.st_size if status and abs(now - status.st_mtime) >= life_s else None


def _remove_unheld(path: Path) -> bool:
    """Delete a partial unless a writer has taken it up."""
    with _unheld(path) as fd:
        if fd is not None:
            path.unlink()
        return fd is not None


@contextmanager
def _unheld(path: Path) -> Iterator[int | None]:
    """The partial, locked; None if a writer holds it or it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd if _is_same_file(fd, path) else None
    except BlockingIOError:
        yield None
    finally:
        os.close(fd)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []


def _is_hex(name: str) -> bool:
    return len(name) == 64 and _HEX_DIGITS.issuperset(name)


def _missing(digest: str) -> NotFound:
    return NotFound(f"no blob {digest} in the content store")


def _cannot_write(digest: str, root: Path, error: OSError) -> EngineError:
    resolution = f"free some space under {root}" if error.errno in _DISK_FULL else None
    return EngineError(
        f"cannot store blob {digest}", details=error.strerror, resolution=resolution
    )
