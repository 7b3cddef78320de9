"""A blob on its way in whose digest is known only when all of it has come."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from runengine.ids import Digest
from runengine.linux import fsatomic

if TYPE_CHECKING:
    from types import TracebackType

    from runengine.registry.content import ContentStore


class IncomingBlob:
    """Written beside the partial downloads; leaving the context uncommitted deletes it.

    It holds the lock that the content store's sweep looks for, so a killed writer's file is
    garbage at once recognisable.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._hash = hashlib.sha256()
        self.offset = 0
        store.ensure_directories()
        self._path = Path(store.root, "partial", f"incoming-{os.urandom(16).hex()}")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __enter__(self) -> IncomingBlob:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def write(self, data: bytes, *, hashing: bool = True) -> None:
        """Append ``data``; without ``hashing`` for a ``commit`` that says the hash.

        Raises OSError.
        """
        fsatomic.write_all(self._fd, data)
        if hashing:
            self._hash.update(data)
        self.offset += len(data)

    @property
    def digest(self) -> Digest:
        """The digest of what has come so far."""
        return Digest(f"sha256:{self._hash.hexdigest()}")

    def commit(self, *, durable: bool = True, hashed: str | None = None) -> Digest:
        """Move the blob into place, read-only. Raises OSError.

        ``hashed`` is its sha256 in hex by who has hashed it in place of ``write``.
        """
        digest = Digest(f"sha256:{hashed}") if hashed else self.digest
        os.fchmod(self._fd, 0o444)
        if durable:
            os.fsync(self._fd)
        whole = self._store.path(digest)
        self._path.rename(whole)
        self._release()
        if durable:
            fsatomic.sync_directory(str(Path(whole).parent))
        return digest

    def discard(self) -> None:
        """Delete it, unless it was committed."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            self._release()

    def _release(self) -> None:
        os.close(self._fd)
        self._fd = -1
