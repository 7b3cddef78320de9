"""``container checkpoint --export`` and ``container restore --import``: a checkpoint that travels.

    container.json     what the engine knows of the container (``backup.Kept``)
    layer.tar          its writable layer
    volumes/N.tar      what is in its volumes
    checkpoint/FILE    what CRIU wrote, and the checkpoint's note

The image is not in it, and must be where it arrives. Files and processes are of one moment: the
container is frozen until all is written, and only then it ends or goes on.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine import ids
from runengine.errors import Corrupt, EngineError, NotFound
from runengine.linux import fsatomic
from runengine.mgr.container import backup, observe, remove
from runengine.mgr.container import checkpoint_places as places
from runengine.mgr.container.checkpoint import Request, take, uninterrupted
from runengine.mgr.container.checkpoint_restore import Wanted
from runengine.mgr.container.context import make_private_directory
from runengine.mgr.container.frozen import frozen
from runengine.mgr.container.recover import finish, settle
from runengine.mgr.container.restoring import Import, Loaded
from runengine.mgr.container.start import start
from runengine.mgr.container.stop import kill_and_settle
from runengine.rootfs.sink import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.container.backup import Kept
    from runengine.mgr.container.context import Context
    from runengine.rootfs.inflate import Source
    from runengine.store.containers import Record
    from runengine.store.network_types import WantedEndpoint

NAME = "checkpoint"
"""Of the one that has no name of its own, as Podman's."""
_ON_ITS_WAY = "exported"
"""Of one that is being written to an archive."""
_FOLDER = "checkpoint/"
_FILE = re.compile(r"checkpoint/([a-zA-Z0-9][a-zA-Z0-9_.-]{0,199})")
_WHOLE = ("inventory.img", "pstree.img", places.NOTE)
_NOTE_LIMIT_BYTES = 1 << 20


class Arrival(NamedTuple):
    """How a checkpoint from an archive is to be restored."""

    name: str = ""
    """Another name, and then another id, so that it can be restored again and again."""
    keep: bool = False
    """Keep the checkpoint with the container."""
    tcp_established: bool = False
    file_locks: bool = False
    ignore_volumes: bool = False
    """Leave the data of volumes that is in the archive."""
    ignore_addresses: bool = False
    """Let it have addresses as any new container."""


def export_checkpoint(
    context: Context, name: str, target: int, request: Request, *, ignore_volumes: bool = False
) -> places.Checkpoint:
    """Write a checkpoint of a running container to the open file ``target``.

    It is stopped when all is written, unless it is to be left running; if that fails it runs on,
    but with its connections kept it has been stopped by then, and its checkpoint stays. Otherwise
    only the note is left to return. Raises what ``create_checkpoint`` does, and OSError.
    """
    with ExitStack() as stack:
        record = stack.enter_context(context.locked(context.resolve(name)))
        stack.enter_context(uninterrupted())
        return _export(context, record, target, request, ignore_volumes=ignore_volumes)


def _export(
    context: Context, record: Record, target: int, request: Request, *, ignore_volumes: bool
) -> places.Checkpoint:
    began_ns = time.monotonic_ns()
    # Connections would be told of an end that is not CRIU's.
    by_criu = request.tcp_established and not request.leave_running
    with ExitStack() as stack:
        if not by_criu and settle(context, record)["Status"] == "running":
            stack.enter_context(frozen(context, record))
        asked = Request(
            _ON_ITS_WAY,
            leave_running=not by_criu,
            tcp_established=request.tcp_established,
            file_locks=request.file_locks,
            replacing=True,
        )
        made = take(context, record, asked)
        try:
            layer = backup.unnamed(context, stack)
            backup.put_layer(context, record, layer)
            _write(context, record, target, layer, made, ignore_volumes=ignore_volumes)
        except BaseException:
            if not by_criu:
                places.remove(record, places.folder(context, record.id), _ON_ITS_WAY)
            raise
        places.remove(record, places.folder(context, record.id), _ON_ITS_WAY)
        context.events.container("export", record, began_ns=began_ns)
        if not request.leave_running:
            _end(context, record)
    return made


def _end(context: Context, record: Record) -> None:
    record = context.store.containers.get(record.id)
    state = settle(context, record)
    if observe.is_live(state):
        kill_and_settle(context, record, state)
    finish(context, context.store.containers.get(record.id))


def _write(
    context: Context,
    record: Record,
    target: int,
    layer: int,
    made: places.Checkpoint,
    *,
    ignore_volumes: bool,
) -> None:
    sink = FileSink(target)
    held = [] if ignore_volumes else backup.volumes_of(context, record)
    kept = backup.document_of(context, record, held)
    backup.put(sink, backup.DOCUMENT, json.dumps(kept._asdict()).encode())
    backup.put_file(sink, backup.LAYER, layer)
    for number, volume in enumerate(held):
        backup.put_volume(context, record, sink, number, volume["name"])
    for name in sorted(os.listdir(made.directory)):
        fd = os.open(f"{made.directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            backup.put_file(sink, f"{_FOLDER}{name}", fd)
        finally:
            os.close(fd)
    backup.end(sink)


def import_checkpoint(context: Context, source: Source, arrival: Arrival) -> Record:
    """Make the container in the stream and let it go on; all of it, or nothing.

    Raises NotFound (its image, a network), AlreadyExists, Corrupt, and what a start raises.
    """
    record = _Import(context, source, arrival).run()
    wanted = Wanted(
        NAME, tcp_established=arrival.tcp_established, file_locks=arrival.file_locks
    )
    try:
        start(context, record.id, checkpoint=wanted)
    except BaseException:
        with suppress(EngineError):
            remove.remove(context, record.id, force=True, made=True)
        raise
    if not arrival.keep:
        places.remove(record, places.folder(context, record.id), NAME)
    return record


class _Import(Import):
    """A container with a checkpoint, and without its image."""

    def __init__(self, context: Context, source: Source, arrival: Arrival) -> None:
        super().__init__(context, source, arrival.name or None)
        self._arrival = arrival

    def document(self) -> Kept:
        """The container's document, under another id if it has another name here."""
        kept = super().document()
        if self._arrival.name:
            kept = kept._replace(id=ids.new_id())
        return kept._replace(volumes=[]) if self._arrival.ignore_volumes else kept

    def image(self, kept: Kept) -> Loaded:
        """The image must be here."""
        try:
            self.context.images.lookup(kept.image_id)
        except NotFound:
            name = kept.config.get("Image") or kept.image_id
            raise NotFound(
                f"the checkpoint's image {name} is not here",
                details=f"its id is {kept.image_id}",
                resolution="pull it or load it first",
            ) from None
        return Loaded(self.context, kept.image_id)

    def wish(self, document: dict[str, Any]) -> WantedEndpoint:
        """What it wants on a network."""
        wish = super().wish(document)
        return wish._replace(ip="", ip6="", mac="") if self._arrival.ignore_addresses else wish

    def fill(self, record: Record, kept: Kept) -> None:
        """Put files and checkpoint into the new container's directories."""
        folder = f"{places.folder(self.context, record.id)}/{NAME}"
        make_private_directory(folder)
        super().fill(record, kept)
        if any(not os.path.isfile(f"{folder}/{name}") for name in _WHOLE):
            raise Corrupt("the archive has no whole checkpoint")

    def fill_from(self, record: Record, kept: Kept, member: str) -> None:
        """A file of the checkpoint's, or of a volume's."""
        file = _FILE.fullmatch(member)
        if file is not None:
            folder = f"{places.folder(self.context, record.id)}/{NAME}"
            if file[1] == places.NOTE:
                self._fill_note(record, folder)
            else:
                _write_file(f"{folder}/{file[1]}", self.archive.chunks())
        elif not (self._arrival.ignore_volumes and member.startswith("volumes/")):
            super().fill_from(record, kept, member)

    def _fill_note(self, record: Record, folder: str) -> None:
        data = b""
        for chunk in self.archive.chunks():
            data += chunk
            if len(data) > _NOTE_LIMIT_BYTES:
                raise Corrupt("the checkpoint's note in the archive is too long")
        try:
            note = places.Note.of_document(json.loads(data))
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(
                "the checkpoint's note in the archive is damaged", details=str(error)
            ) from None
        addresses = () if self._arrival.ignore_addresses else note.addresses
        note = note._replace(name=NAME, container_id=record.id, addresses=addresses)
        fsatomic.replace_json(f"{folder}/{places.NOTE}", note.to_document(), durable=False)


def _write_file(path: str, chunks: Iterator[bytes]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        raise Corrupt(f"the archive has {os.path.basename(path)} twice") from None
    try:
        for chunk in chunks:
            fsatomic.write_all(fd, chunk)
    finally:
        os.close(fd)
