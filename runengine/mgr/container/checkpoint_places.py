"""Where checkpoints are, and what is written about each.

A checkpoint is a directory, below the container's own or one that the user names: CRIU's images
and log, and a note. It is made as ``.NAME.part`` and renamed when it is whole. Who makes it, and
the runtime that works for him, hold a lock on the directory: one that nobody holds was left by a
command that was killed, and is whole if CRIU has written its statistics.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from runengine.errors import AlreadyExists, Conflict, InvalidParameter, NotFound, Unavailable
from runengine.linux import clock, fsatomic
from runengine.mgr.container.context import discard_directory, make_private_directory
from runengine.runtime import criu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

NOTE = "config.json"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}")
_STAGED = re.compile(rf"\.({_NAME.pattern})\.(part|gone)")


class Address(NamedTuple):
    """What a container had on a network when it was checkpointed."""

    network: str
    """Its name."""
    ip: str = ""
    ip6: str = ""
    mac: str = ""


class Note(NamedTuple):
    """What is to be known of a checkpoint before its processes are started."""

    name: str
    container_id: str
    image_id: str = ""
    created_at: str = ""
    addresses: tuple[Address, ...] = ()
    tcp_established: bool = False
    file_locks: bool = False

    def to_document(self) -> dict[str, Any]:
        """As it is written; the first two keys are what other programs look for."""
        return {
            "CheckpointName": self.name,
            "ContainerID": self.container_id,
            "Image": self.image_id,
            "Created": self.created_at,
            "Addresses": [one._asdict() for one in self.addresses],
            "TcpEstablished": self.tcp_established,
            "FileLocks": self.file_locks,
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The note in a document. Raises KeyError, TypeError, ValueError for another shape."""
        return cls(
            str(document["CheckpointName"]),
            str(document["ContainerID"]),
            str(document.get("Image", "")),
            str(document.get("Created", "")),
            tuple(Address(**one) for one in document.get("Addresses", ())),
            tcp_established=document.get("TcpEstablished") is True,
            file_locks=document.get("FileLocks") is True,
        )


class Checkpoint(NamedTuple):
    """A whole one."""

    directory: str
    note: Note
    stats: bytes = b""
    """What CRIU has counted, if it was just made."""


def check_name(name: str) -> str:
    """Return the name of a checkpoint; it becomes a directory's. Raises InvalidParameter."""
    if not name:
        raise InvalidParameter("the checkpoint needs a name")
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Invalid checkpoint name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            details="of at most 200 characters",
        )
    return name


def folder(context: Context, container_id: str, directory: str = "") -> str:
    """Where the checkpoints of a container are, or those in a directory of the user's."""
    if not directory:
        return f"{context.data_dir(container_id)}/checkpoints"
    if not os.path.isabs(directory):
        raise InvalidParameter(f"the checkpoint directory {directory} must be an absolute path")
    return os.path.normpath(directory)


def read(directory: str) -> Note | None:
    """The note of the checkpoint in ``directory``; None if there is none, or none of ours."""
    try:
        if not os.path.isdir(directory) or os.path.islink(directory):
            return None
        return Note.of_document(json.loads(fsatomic.read_optional(f"{directory}/{NOTE}") or b""))
    except (OSError, KeyError, TypeError, ValueError):
        return None


def find(record: Record, parent: str, name: str) -> Checkpoint:
    """The checkpoint ``name`` in ``parent``, whichever container it is of. Raises NotFound."""
    directory = f"{parent}/{check_name(name)}"
    note = read(directory)
    if note is None:
        raise NotFound(f"checkpoint {name} is not exist for container {record.name}")
    return Checkpoint(directory, note)


def names(container_id: str, parent: str) -> Sequence[str]:
    """The checkpoints of one container in ``parent``, sorted; others may have theirs there."""
    try:
        entries = sorted(os.listdir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = ((name, read(f"{parent}/{name}")) for name in entries if _NAME.fullmatch(name))
    return [name for name, note in found if note and note.container_id == container_id]


class Stage:
    """A checkpoint on its way: becomes whole by ``commit``, or is nothing."""

    def __init__(self, parent: str, note: Note, lock_fd: int) -> None:
        self._parent = parent
        self._note = note
        self.lock_fd = lock_fd
        """Whoever has it open works on it."""
        self.directory = f"{parent}/.{note.name}.part"

    def commit(self, *, replacing: bool = False) -> Checkpoint:
        """Put all of it on the disk, then give it its name, which another may have had so far."""
        for name in os.listdir(self.directory):
            fd = os.open(f"{self.directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        target = f"{self._parent}/{self._note.name}"
        fsatomic.sync_directory(self.directory)
        if replacing and os.path.lexists(target):
            _drop(self._parent, self._note.name)
        os.rename(self.directory, target)
        fsatomic.sync_directory(self._parent)
        stats = fsatomic.read_optional(f"{target}/{criu.DUMP_STATS}") or b""
        return Checkpoint(target, self._note, stats)


@contextmanager
def staged(
    record: Record, parent: str, note: Note, *, replacing: bool = False
) -> Iterator[Stage]:
    """A directory for a new checkpoint, with its note; gone with the block if not committed.

    ``replacing``: there may be one with its name, which stays until then. Raises AlreadyExists,
    Conflict (it is being made), Unavailable.
    """
    sweep(record.id, parent)
    _refuse_busy(record, parent)
    if not replacing and os.path.lexists(f"{parent}/{note.name}"):
        raise AlreadyExists(f"checkpoint {note.name} is already exist")
    make_private_directory(parent)
    directory = f"{parent}/.{note.name}.part"
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        raise Conflict(
            f"checkpoint {note.name} is just being made",
            resolution=f"if nobody makes it, remove {directory}",
        ) from None
    except OSError as error:
        raise Unavailable(f"cannot make {directory}: {error.strerror}") from None
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        fsatomic.replace_json(f"{directory}/{NOTE}", note.to_document())
        yield Stage(parent, note, fd)
    finally:
        discard_directory(directory)
        os.close(fd)


def stamped(name: str, record: Record, addresses: Sequence[Address]) -> Note:
    """The note of a checkpoint that is made now."""
    return Note(check_name(name), record.id, record.image_id, clock.now(), tuple(addresses))


def remove(record: Record, parent: str, name: str) -> None:
    """Remove a checkpoint of this container. Raises NotFound."""
    found = find(record, parent, name)
    if found.note.container_id != record.id:
        raise NotFound(f"checkpoint {name} is not exist for container {record.name}")
    _drop(parent, name)


def _drop(parent: str, name: str) -> None:
    """Remove a checkpoint: out of sight first, as it cannot be removed at once."""
    gone = f"{parent}/.{name}.gone"
    discard_directory(gone)
    os.rename(f"{parent}/{name}", gone)
    discard_directory(gone)


def sweep(container_id: str, parent: str) -> None:
    """Finish what commands that were killed have left of this container's checkpoints."""
    try:
        entries = os.listdir(parent)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        match = _STAGED.fullmatch(entry)
        note = read(f"{parent}/{entry}") if match else None
        if match and note and note.container_id == container_id:
            with suppress(OSError):
                _finish(parent, match[1], note, begun=match[2] == "part")


def _refuse_busy(record: Record, parent: str) -> None:
    """Raise Conflict while a runtime still works for a command that was killed.

    Two at once would only fail each other.
    """
    for entry in os.listdir(parent) if os.path.isdir(parent) else ():
        match = _STAGED.fullmatch(entry)
        note = read(f"{parent}/{entry}") if match and match[2] == "part" else None
        if match and note and note.container_id == record.id:
            raise Conflict(
                f"checkpoint {match[1]} of container {record.name} is just being made",
                resolution="wait until it is there, or gone",
            )


def _finish(parent: str, name: str, note: Note, *, begun: bool) -> None:
    directory = f"{parent}/.{name}.{'part' if begun else 'gone'}"
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        whole = begun and os.path.exists(f"{directory}/{criu.DUMP_STATS}")
        if whole and not os.path.lexists(f"{parent}/{name}"):
            Stage(parent, note._replace(name=name), fd).commit()
        else:
            discard_directory(directory)
    finally:
        os.close(fd)
