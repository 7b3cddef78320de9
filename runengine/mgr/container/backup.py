"""``export --with-config``: one tar that gives the same container back in another engine.

    container.json     what the engine knows of it (``Kept``)
    image.tar          its image, as ``save`` writes it
    layer.tar          its writable layer, as a layer of an image would be
    volumes/N.tar      what is in its volumes, if that is asked for

``restoring`` reads it. The parts are made one after the other, in files without a name, as a tar
has to say how long a member is before it comes.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from runengine.errors import Conflict
from runengine.mgr.container import observe, volumes
from runengine.mgr.container.frozen import frozen
from runengine.mgr.container.recover import settle
from runengine.mgr.container.rootfs import changes, readable_files, upper_of
from runengine.rootfs import packheader
from runengine.rootfs.sink import FileSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.mgr.container.context import Context
    from runengine.mgr.image.archive import Readable
    from runengine.store.containers import Record, State

FORMAT = 1
DOCUMENT, IMAGE, LAYER = "container.json", "image.tar", "layer.tar"
WAS_RUNNING = "its exit code is unknown: it ran when it was exported"
_BLOCK = 512


class Images(Protocol):
    """What a move needs of the image manager, which is all that ``context.images`` is."""

    def save(self, names: Sequence[str], target: int) -> None:
        """Write images to an open file as one tar."""

    def load(self, stream: Readable) -> list[str]:
        """Load the images of such a tar."""

    def tag(self, source: str, target: str) -> str:
        """Give an image one more name."""

    def remove(self, name: str, *, force: bool = False) -> object:
        """Remove an image."""


class Kept(NamedTuple):
    """The document: a container as its engine had it."""

    format: int
    id: str
    name: str
    created_at: str
    image_id: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    points: list[dict[str, Any]]
    """Its mounts as they were decided, with the names of its volumes."""
    networks: list[dict[str, Any]]
    """What it wants on each network; these are known by name."""
    state: dict[str, Any]
    volumes: list[dict[str, Any]]
    """Those whose data is in the archive, in its order."""


def export_with_config(
    context: Context, name: str, target: int, *, with_volumes: bool = False
) -> None:
    """Write a container to the open file ``target``. One that runs is frozen for a moment.

    Raises NotFound (also its image), Conflict (it is being removed), EngineError, OSError.
    """
    began_ns = time.monotonic_ns()
    with ExitStack() as stack:
        record, layer = _take(context, name, stack)
        held = volumes_of(context, record) if with_volumes else []
        sink = FileSink(target)
        document = json.dumps(document_of(context, record, held)._asdict()).encode()
        put(sink, DOCUMENT, document)
        images = cast("Images", context.images)
        put_made(context, sink, IMAGE, lambda fd: images.save([record.image_id], fd))
        put_file(sink, LAYER, layer)
        for number, volume in enumerate(held):
            put_volume(context, record, sink, number, volume["name"])
        end(sink)
    context.events.container("export", record, began_ns=began_ns)


def _take(context: Context, name: str, stack: ExitStack) -> tuple[Record, int]:
    """The record and the writable layer of one moment; the layer as an open file."""
    with context.locked(context.resolve(name)) as record:
        if record.status == "removing":
            raise Conflict(f"container {record.name} is marked for removal")
        state = settle(context, record)
        running = state["Status"] == "running"
        layer = unnamed(context, stack)
        still = frozen(context, record) if running else nullcontext()
        with still:
            put_layer(context, record, layer)
    return record._replace(state=state), layer


def put_layer(context: Context, record: Record, target: int) -> None:
    """Write what the container has changed in its image to an open file, as a layer."""
    from runengine.rootfs.packlayer import pack_layer

    sink = FileSink(target)
    with readable_files(record.name):
        pack_layer(upper_of(context, record), changes(context, record), sink)
    end(sink)


def end(sink: FileSink) -> None:
    """Write the end of a tar."""
    sink.write(bytes(2 * _BLOCK))
    sink.flush()


def unnamed(context: Context, stack: ExitStack) -> int:
    """A file without a name on the engine's disk, open until ``stack`` is left."""
    file = tempfile.TemporaryFile(dir=context.paths.root)  # noqa: SIM115
    return stack.enter_context(file).fileno()


def document_of(context: Context, record: Record, held: list[dict[str, Any]]) -> Kept:
    """All that the engine knows of the container; ``held`` are the volumes in the archive."""
    wanted = context.networks.wanted_of(record.id)
    host: dict[str, Any] = {**record.host_config}
    names = {wish.network: wish.network_name for wish in wanted}
    host["NetworkMode"] = names.get(host["NetworkMode"]) or host["NetworkMode"]
    return Kept(
        FORMAT,
        record.id,
        record.name,
        record.created_at,
        record.image_id,
        {**record.config},
        host,
        volumes.to_documents(volumes.points_of(record)),
        [wish._asdict() for wish in wanted],
        {**_at_rest(record.state)},
        held,
    )


def _at_rest(state: State) -> State:
    """The state without processes: what was not seen is not made up."""
    if not observe.is_live(state):
        return state
    return {**observe.lost(state), "Error": WAS_RUNNING}


def volumes_of(context: Context, record: Record) -> list[dict[str, Any]]:
    """The volumes that it mounts, as a document keeps them."""
    names = [p.volume.name for p in volumes.points_of(record) if p.volume is not None]
    found = (context.store.volumes.get(name) for name in dict.fromkeys(names))
    return [
        {"name": one.name, "driver": one.driver, "labels": one.labels, "options": one.options}
        for one in found
    ]


def put_volume(
    context: Context, record: Record, sink: FileSink, number: int, name: str
) -> None:
    """Write what is in a volume."""
    from runengine.rootfs.gather import write_archive
    from runengine.rootfs.places import Places

    path = context.volumes.hold(context.store.volumes.get(name), record.id)
    try:
        with Places() as places:
            entry = places.source(f"{path}/.")
            put_made(
                context, sink, f"volumes/{number}.tar", lambda fd: write_archive(fd, entry, ".")
            )
    finally:
        if not observe.is_live(observe.observe(context, record)):
            context.volumes.release([name], record.id)


def put_made(
    context: Context, sink: FileSink, name: str, make: Callable[[int], None]
) -> None:
    """Write a member that ``make`` writes to an open file first."""
    with tempfile.TemporaryFile(dir=context.paths.root) as made:
        make(made.fileno())
        put_file(sink, name, made.fileno())


def put_file(sink: FileSink, name: str, fd: int) -> None:
    """Write the whole of an open file as a member."""
    size = os.fstat(fd).st_size
    os.lseek(fd, 0, os.SEEK_SET)
    sink.write(_head(name, size))
    sink.copy(fd, size)
    sink.write(bytes(-size % _BLOCK))


def put(sink: FileSink, name: str, data: bytes) -> None:
    """Write a small member."""
    sink.write(_head(name, len(data)) + data + bytes(-len(data) % _BLOCK))


def _head(name: str, size: int) -> bytes:
    fields = packheader.Fields(name.encode(), mode=0o600, size=size)
    return packheader.build(fields._replace(mtime_ns=time.time_ns() // 10**9 * 10**9))
