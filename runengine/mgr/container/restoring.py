"""``container import``: make the container that ``export --with-config`` wrote (``backup``).

All of it or nothing: until its files are there the record says ``creating``, and whoever finds it
so with nobody at it removes it with all that it has made.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from runengine import ids
from runengine.errors import AlreadyExists, Corrupt, EngineError, NotFound
from runengine.mgr.container import create, volumes
from runengine.mgr.container.backup import DOCUMENT, FORMAT, IMAGE, LAYER, Kept
from runengine.mgr.image import garbage
from runengine.mgr.image.archive import Archive
from runengine.model import container_config, host_config
from runengine.rootfs.transfer import Options
from runengine.store.containers import created_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.container.backup import Images
    from runengine.mgr.container.context import Context
    from runengine.rootfs.inflate import Source
    from runengine.store.containers import Record, State
    from runengine.store.network_types import WantedEndpoint

_DOCUMENT_LIMIT_BYTES = 16 << 20
_VOLUME = re.compile(r"volumes/(\d{1,6})\.tar")


def import_with_config(context: Context, source: Source, *, name: str | None = None) -> Record:
    """Make the container in the stream, with its id, name, image, files and settings.

    ``name`` gives it another name. Raises AlreadyExists for an id, a name or a volume that is here
    already, NotFound for a network that is not, Corrupt, InvalidParameter, EngineError.
    """
    return Import(context, source, name).run()


class Import:
    """One archive on its way in; ``checkpoint_moving`` has another kind."""

    def __init__(self, context: Context, source: Source, name: str | None) -> None:
        self.context = context
        self.archive = Archive(source)
        self._members = iter(self.archive)
        self._name = name

    def run(self) -> Record:
        """All of it. Raises what ``import_with_config`` raises."""
        began_ns = time.monotonic_ns()
        kept = self.document()
        name = ids.check_name(self._name or kept.name)
        self._refuse_conflicts(kept, name)
        with self.image(kept), garbage.in_use(self.context.paths):
            self._expect(LAYER)
            record = self._install(kept, name)
        self.context.events.container("create", record, began_ns=began_ns)
        return record

    def document(self) -> Kept:
        """What the engine that wrote it knew of the container."""
        size = self._expect(DOCUMENT)
        if size > _DOCUMENT_LIMIT_BYTES:
            raise Corrupt(f"{DOCUMENT} in the archive has {size} bytes")
        try:
            kept = Kept(**json.loads(self.archive.read()))
        except (TypeError, ValueError) as error:
            raise Corrupt(f"{DOCUMENT} in the archive is damaged", details=str(error)) from None
        _check(kept)
        return kept

    def _expect(self, name: str) -> int:
        """The size of the next member, which must have this name."""
        member = next(self._members, None)
        if member is None or member.name != name or not member.is_file:
            raise Corrupt(
                "this is no container that was exported with its settings",
                details=f"it has {member.name if member else 'its end'!r} where {name} should be",
                resolution="a plain export is made an image by runengine import",
            )
        return member.size

    def _refuse_conflicts(self, kept: Kept, name: str) -> None:
        """What can be told before anything is made; the rest is told when it is."""
        store = self.context.store
        if self.context.find(kept.id) is not None:
            raise AlreadyExists(
                f"container {kept.id[:12]} is here already", resolution="remove it first"
            )
        owner = store.containers.id_of_name(name)
        if owner is not None:
            raise AlreadyExists(
                f'container name "{name}" already existed: in use by container {owner[:12]}',
                resolution="remove or rename that container, or use --name",
            )
        taken = [v["name"] for v in kept.volumes if store.volumes.find(v["name"]) is not None]
        if taken:
            raise AlreadyExists(
                f"volumes of the container are here already: {', '.join(taken)}",
                resolution="remove them, or export without --with-volumes to use them",
            )

    def image(self, kept: Kept) -> Loaded:
        """Load the image, unless it is here."""
        self._expect(IMAGE)
        loaded = Loaded(self.context, kept.image_id)
        try:
            self.context.images.lookup(kept.image_id)
        except NotFound:
            self._load()
            loaded.by_us = True
            self.context.images.lookup(kept.image_id)
            self._name_image(kept)
        return loaded

    def _name_image(self, kept: Kept) -> None:
        """Give the image the name by which the container knows it, if no other has it."""
        name = str(kept.config.get("Image") or "")
        with suppress(EngineError):
            self.context.images.lookup(name)
            return
        with suppress(EngineError):  # the container knows it by its id
            cast("Images", self.context.images).tag(kept.image_id, name)

    def _load(self) -> None:
        """Another process does it, which must not read ahead in our stream."""
        with tempfile.TemporaryFile(dir=self.context.paths.root) as spool:
            for chunk in self.archive.chunks():
                spool.write(chunk)
            spool.seek(0)
            cast("Images", self.context.images).load(spool)

    def _install(self, kept: Kept, name: str) -> Record:
        context = self.context
        host: Any = {**host_config(), **kept.host_config}
        config: Any = {**container_config(), **kept.config}
        # Its mounts are decided: none is to be named or borrowed anew.
        mounts = {key: host[key] for key in ("Binds", "Mounts", "Tmpfs", "VolumesFrom")}
        asked: Any = {**host, **{key: type(value)() for key, value in mounts.items()}}
        by_id: Any = {**config, "Image": kept.image_id, "Volumes": {}}
        plan = create.make_plan(context, kept.id, name, by_id, asked, {})
        record = plan.record(kept.id, name)._replace(
            created_at=kept.created_at,
            config=config,
            host_config=cast("Any", {**plan.host, **mounts}),
            details={**plan.details, "points": kept.points},
            state=cast("Any", {**created_state(), **kept.state}),
        )
        shown = volumes.documents(context, volumes.points_of(record))
        record = record._replace(details={**record.details, "mounts": shown})
        wanted = [self.wish(document) for document in kept.networks]

        def fill(made: Record) -> State:
            self.fill(made, kept)
            return record.state

        return create.install(context, record, wanted, fill)

    def wish(self, document: dict[str, Any]) -> WantedEndpoint:
        """What it wants on a network, which has another id here. Raises NotFound."""
        from runengine.store.network_types import WantedEndpoint

        wish = WantedEndpoint(**document)
        found = self.context.networks.get(wish.network_name or wish.network)
        return wish._replace(
            network=found.id,
            link_local=tuple(wish.link_local),
            aliases=tuple(wish.aliases),
            links=tuple(wish.links),
            ports=(),
            former=(),
        )

    def fill(self, record: Record, kept: Kept) -> None:
        """Put files into the new container's directories."""
        from runengine.rootfs.unpack import complete_layer, unpack_layer

        context = self.context
        upper = f"{context.data_dir(record.id)}/upper"
        unpacked = unpack_layer(_Stream(self.archive.chunks()), upper)
        complete_layer(upper, unpacked, context.images.layer_paths(record.layers)[::-1])
        for member in self._members:
            self.fill_from(record, kept, member.name)

    def fill_from(self, record: Record, kept: Kept, member: str) -> None:
        """Bring the member that comes behind the layer. Raises Corrupt if it does not belong."""
        number = _VOLUME.fullmatch(member)
        if number is None or int(number[1]) >= len(kept.volumes):
            raise Corrupt(f"the archive has a member {member!r}")
        self._fill_volume(record, kept.volumes[int(number[1])]["name"])

    def _fill_volume(self, record: Record, name: str) -> None:
        from runengine.rootfs.extract import extract

        context = self.context
        path = context.volumes.hold(context.store.volumes.get(name), record.id)
        try:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                extract(_Stream(self.archive.chunks()), fd, "", Options())
            finally:
                os.close(fd)
        finally:
            context.volumes.release([name], record.id)


class Loaded:
    """An image; if we brought it and nothing comes of the container, it goes again."""

    def __init__(self, context: Context, image_id: str) -> None:
        self._context = context
        self._image_id = image_id
        self.by_us = False

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self.by_us:
            with suppress(EngineError):
                cast("Images", self._context.images).remove(self._image_id, force=True)


class _Stream:
    """Pieces of a member as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def _check(kept: Kept) -> None:
    """Raise Corrupt for a document of another version or shape."""
    if kept.format != FORMAT:
        raise Corrupt(
            f"the archive has format {kept.format}, and this version reads {FORMAT}",
            resolution="import it with the version that wrote it",
        )
    objects = kept.config, kept.host_config, kept.state
    lists = kept.points, kept.networks, kept.volumes
    whole = all(isinstance(one, dict) for one in objects)
    whole = whole and all(isinstance(one, list) for one in lists)
    whole = whole and all(isinstance(one, dict) for several in lists for one in several)
    if not whole or not ids.is_id(kept.id) or not isinstance(kept.name, str):
        raise Corrupt(f"{DOCUMENT} in the archive has a part of the wrong shape")
