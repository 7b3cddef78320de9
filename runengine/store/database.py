"""The SQLite database: opening, migrations, write transactions.

WAL keeps readers from ever waiting; writers queue on SQLite's own lock for well under a
millisecond each. ``synchronous=NORMAL`` makes a commit cost no fsync: after a power cut the last
commits may be missing but the file is whole (sqlite.org/wal.html), which recovery expects anyway.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.errors import StateError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_TIMEOUT_S = 60
BUSY_POLL_S = 0.005
WAL_WRITE_BYTE = 120
"""Of the file -shm: who writes has it locked (sqlite.org/walformat.html)."""
LEFT_LOG_BYTES = 1 << 20
"""So long a log is left by a process that ends: reading it back takes half a millisecond."""
RESERVE_BYTES = 512 << 10
"""Kept for what gives room back: on a full disk even a removal has to be written down."""
ROOMY_BYTES = 64 << 20
"""With so much free it is taken anew."""

# One entry per schema version, never edited once released: version N is MIGRATIONS[:N] applied.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image_id TEXT NOT NULL,
        created_at TEXT NOT NULL,
        config TEXT NOT NULL,
        host_config TEXT NOT NULL,
        details TEXT NOT NULL,
        layers TEXT NOT NULL,
        status TEXT NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE images (
        image_id TEXT PRIMARY KEY,
        manifest_digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        config TEXT NOT NULL,
        layers TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        created_at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE image_names (
        name TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images(image_id),
        manifest_digest TEXT NOT NULL,
        created_at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX image_names_by_image ON image_names(image_id);
    CREATE TABLE execs (
        id TEXT PRIMARY KEY,
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        config TEXT NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX execs_by_container ON execs(container_id);
    """,
    # What the user wants, apart from what is: it was a flag inside the state before.
    """
    ALTER TABLE containers ADD COLUMN desired TEXT NOT NULL DEFAULT 'stopped';
    ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE containers ADD COLUMN restart_delay_s REAL NOT NULL DEFAULT 0;
    UPDATE containers SET desired = 'running'
        WHERE status IN ('running', 'paused', 'exited')
        AND CASE json_valid(state) WHEN 1
            THEN NOT coalesce(json_extract(state, '$.StopRequested'), 0) ELSE 0 END;
    UPDATE containers SET state = json_remove(state, '$.StopRequested') WHERE json_valid(state)
    """,
    # Networks; who is to be on them and who is; whose addresses and host ports are in use.
    """
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        device TEXT NOT NULL,
        created_at TEXT NOT NULL,
        settings TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX networks_by_bridge ON networks(device) WHERE driver = 'bridge';
    CREATE TABLE pools (
        network_id TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
        family INTEGER NOT NULL,
        subnet TEXT NOT NULL UNIQUE,
        last BLOB,
        PRIMARY KEY (network_id, family)
    ) WITHOUT ROWID;
    CREATE TABLE endpoints (
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        network_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        wanted TEXT NOT NULL,
        mac TEXT NOT NULL,
        boot TEXT NOT NULL,
        reserved TEXT,
        PRIMARY KEY (container_id, network_id)
    ) WITHOUT ROWID;
    CREATE INDEX endpoints_by_network ON endpoints(network_id);
    CREATE UNIQUE INDEX endpoints_by_mac ON endpoints(network_id, mac) WHERE mac != '';
    CREATE TABLE leases (
        network_id TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
        address BLOB NOT NULL,
        container_id TEXT REFERENCES containers(id) ON DELETE CASCADE,
        use TEXT NOT NULL,
        PRIMARY KEY (network_id, address)
    ) WITHOUT ROWID;
    CREATE INDEX leases_by_container ON leases(container_id) WHERE container_id IS NOT NULL;
    CREATE TABLE ports (
        protocol TEXT NOT NULL,
        host_ip TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        network_id TEXT NOT NULL,
        container_ip TEXT NOT NULL,
        container_port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host_ip, first)
    ) WITHOUT ROWID;
    CREATE INDEX ports_by_container ON ports(container_id)
    """,
    # Volumes, and which containers need them: a row goes with its container, so that who uses a
    # volume is never counted anywhere, and a volume that somebody uses cannot be forgotten.
    """
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        driver TEXT NOT NULL,
        created_at TEXT NOT NULL,
        settings TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE volume_uses (
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        volume TEXT NOT NULL REFERENCES volumes(name),
        anonymous INTEGER NOT NULL,
        PRIMARY KEY (container_id, volume)
    ) WITHOUT ROWID;
    CREATE INDEX volume_uses_by_volume ON volume_uses(volume)
    """,
)


class Database:
    """One connection; cheap to open (about a millisecond), safe to open in many processes."""

    def __init__(self, path: str) -> None:
        """Open or create the database at ``path`` and bring it to this version's schema.

        Raises StateError for a damaged or newer file, Unavailable if it cannot be opened.
        """
        self.path = path
        try:
            self.connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.DatabaseError as error:
            raise _readable(error, path) from error
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise _readable(error, path) from error
        except BaseException:
            self.connection.close()
            raise

    def _prepare(self) -> None:
        self._use_wal()
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.execute("PRAGMA foreign_keys=ON")
        # Sorting a long list must not need room in /var/tmp.
        self.connection.execute("PRAGMA temp_store=MEMORY")
        self._migrate()

    def _use_wal(self) -> None:
        """Switch a new file to WAL. SQLite does not wait here when others open it just now."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(BUSY_POLL_S)

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        os.chmod(self.path, 0o600)
        with self.write():
            version = self._version()  # somebody else may have migrated while we waited
            if version > len(MIGRATIONS):
                raise StateError(
                    f"{self.path} was written by a newer runengine (schema {version})",
                    resolution="install that version again, or use another --root",
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")

    @contextmanager
    def write(self, *, grows: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction: all or nothing. The lock is taken at once, so no late conflict.

        What ``grows`` makes new objects, and gets nothing of the reserve.
        """
        self._mind_reserve(grows=grows)
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise _readable(error, self.path) from error

    def _mind_reserve(self, *, grows: bool) -> None:
        """Take room on the disk while there is plenty, and give it back when there is none."""
        reserve = f"{self.path}-reserve"
        with suppress(OSError):
            system = os.statvfs(self.path)
            free = system.f_bavail * system.f_frsize
            if free < RESERVE_BYTES and not grows:
                os.unlink(reserve)
            elif free > ROOMY_BYTES and not os.path.exists(reserve):
                fd = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(fd, 0, RESERVE_BYTES)
                finally:
                    os.close(fd)

    def faults(self) -> list[str]:
        """What is wrong with the file, and with references in it, by SQLite's own words."""
        found = [str(row[0]) for row in self.connection.execute("PRAGMA quick_check(10)")]
        dangling = [
            f"a row of {table} refers to a row of {parent} that is not there"
            for table, _, parent, _ in self.connection.execute("PRAGMA foreign_key_check")
        ]
        return [*(text for text in found if text != "ok"), *dict.fromkeys(dangling)]

    def data_version(self) -> tuple[int, int]:
        """Something that differs after every change, by us or by others (sqlite.org/pragma.html).

        It costs some microseconds, so that whoever looks again and again need not read again.
        """
        (others,) = self.connection.execute("PRAGMA data_version").fetchone()
        return int(others), self.connection.total_changes

    def close(self) -> None:
        """Close: what was written is on the disk then.

        The last one out folds the write-ahead log into the file; others leave it to the last.
        Closing again does nothing.
        """
        with suppress(sqlite3.ProgrammingError):  # it is closed
            if self.connection.total_changes:
                self._sync_log()
        self.connection.close()

    def leave(self) -> None:
        """Close by the end of the process, which is near: what was written is on the disk then.

        Whoever closes last folds the log, and whoever writes next begins a new one; where every
        command is a process of its own, these were four of its five syncs. A log that is left is
        read by the next to open the file, as after a crash; one that has grown long is folded.
        """
        if self._log_bytes() > LEFT_LOG_BYTES:
            self.close()
        elif self.connection.total_changes:
            self._sync_log()

    def _log_bytes(self) -> int:
        try:
            return os.stat(f"{self.path}-wal").st_size
        except OSError:
            return 0

    def _sync_log(self) -> None:
        with suppress(OSError):
            fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)


def _readable(error: sqlite3.DatabaseError, path: str) -> StateError | Unavailable:
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return StateError(
            f"state database {path} is damaged",
            details=text,
            resolution="restore it from a backup, or move it away to start empty",
        )
    if "locked" in text:
        return _locked(path)
    free = "; free some space on its disk" if "full" in text or "disk I/O" in text else ""
    return Unavailable(f"state database {path}: {text}{free}")


def _locked(path: str) -> Unavailable:
    """No command of ours holds it for longer than a moment: somebody else does, or is stopped."""
    from runengine.linux import posixlocks

    holders = posixlocks.writers(f"{path}-shm", WAL_WRITE_BYTE)
    return Unavailable(
        f"state database {path} is locked",
        details=f"it is written by {', '.join(holders)}" if holders else None,
        resolution="end who holds it, and try again",
    )
