"""The image half of ``commit``: a layer from a container's writable one, and the image over it.

The archive is hashed, compressed and stored by a thread while it is written. Where the files hold
still, a second process copies them into the layer store meanwhile, so that nothing is unpacked
again; otherwise only what is in the archive counts, and it is unpacked from there.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Conflict
from runengine.linux import clock
from runengine.mgr.image import changes as changing
from runengine.mgr.image import garbage, naming, register
from runengine.mgr.image.arrival import Arrivals, Layer, Stack, check_stackable
from runengine.mgr.image.context import note
from runengine.mgr.image.packing import Packed, PackedLayer, pack
from runengine.mgr.image.repair import not_stored
from runengine.oci_spec import media_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.ids import DiffID, Digest
    from runengine.mgr.image.context import ImageContext
    from runengine.model import ContainerConfig
    from runengine.rootfs.changes import Change
    from runengine.store.images import StoredImage

MANIFEST_LIMIT_BYTES = 16 << 20
_TAKEN_OVER = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
    "StopSignal", "StopTimeout", "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip
"""Of a container's configuration, in the order of the image-spec; the rest is the container's."""


class Wishes(NamedTuple):
    """What the new image is to be called and to say about itself."""

    reference: str | None = None
    author: str = ""
    comment: str = ""
    changes: Sequence[str] = ()  # Dockerfile instructions


@contextmanager
def begin(
    context: ImageContext, image_id: str, layers: list[str], wishes: Wishes
) -> Iterator[Commit]:
    """Around a commit: nothing is swept meanwhile, and a failed one leaves nothing.

    ``image_id`` and ``layers`` (keys) are what the container stands on. Raises InvalidParameter
    for the wishes, Conflict if the image is gone.
    """
    full = str(naming.target(wishes.reference)) if wishes.reference else None
    changing.apply({}, wishes.changes)
    with garbage.arriving(context, resumable=False):
        base = context.store.images.get_image(image_id)
        if base is None:
            raise Conflict(
                f"the image of the container, {image_id[:19]}, was removed",
                resolution="pull or load it again",
            )
        check_stackable(len(layers) + 1, "the new image")
        with ExitStack() as held:
            yield Commit(context, base, full, wishes, held)


class Commit:
    """An image in the making: ``take`` the files, then ``finish``."""

    def __init__(
        self,
        context: ImageContext,
        base: StoredImage,
        name: str | None,
        wishes: Wishes,
        held: ExitStack,
    ) -> None:
        self._context = context
        self._base = base
        self._name = name
        self._wishes = wishes
        self._document: dict[str, Any] = json.loads(base.config)
        self._held = held
        self._packed: Packed | None = None
        self._layer: PackedLayer | None = None

    @property
    def shown(self) -> str:
        """The new image's name as Docker shows it; empty without."""
        return naming.familiar(self._name) if self._name else ""

    def take(self, upper: str, changes: Sequence[Change], *, is_still: bool) -> None:
        """Read the changes, for a layer; without any there is none. Raises Conflict, OSError."""
        if changes:
            self._packed = pack(self._context, self._held, upper, changes, copy=is_still)

    def finish(self, config: ContainerConfig) -> str:
        """Store and name the image, whose settings are the container's; returns its id."""
        began_ns = time.monotonic_ns()
        document = self._described(config)
        diff_ids = document["rootfs"]["diff_ids"]
        if self._packed is not None:
            self._layer = self._packed.store(self._context, diff_ids)
            diff_ids.append(self._layer.diff_id)
            self._unpack_unless_copied(self._layer, diff_ids)
        data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        keys = Stack(self._context.layers, diff_ids).keys()
        image_id = self._context.content.put(data)
        manifest = self._context.content.put(self._manifest(image_id, len(data)))
        arrived = register.Arrived(
            image_id,
            manifest,
            media_types.OCI_MANIFEST,
            data.decode(),
            keys,
            [self._name] if self._name else [],
        )
        register.register(self._context, arrived)
        names = [self.shown] if self._name else [image_id]
        note(self._context, "create", image_id, names, began_ns=began_ns)
        return image_id

    def _described(self, config: ContainerConfig) -> dict[str, Any]:
        """The image config, but for the new layer's diff id."""
        wishes, created = self._wishes, clock.now()
        entry: dict[str, Any] = {"created": created}
        if config["Cmd"]:
            entry["created_by"] = " ".join(config["Cmd"])
        if wishes.author:
            entry["author"] = wishes.author
        if wishes.comment:
            entry["comment"] = wishes.comment
        if self._packed is None:
            entry["empty_layer"] = True
        dropped = ("container", "container_config", "docker_version", "author", "comment", "id")
        kept = {key: value for key, value in self._document.items() if key not in dropped}
        author = {"author": wishes.author} if wishes.author else {}
        return kept | author | {
            "created": created,
            "config": self._section(config),
            "history": [*(self._document.get("history") or []), entry],
        }

    def _section(self, config: ContainerConfig) -> dict[str, Any]:
        """Execution parameters: the container's, with the image's where it says nothing."""
        own = self._document.get("config") or {}
        values = {key: config.get(key) or own.get(key) for key in _TAKEN_OVER}
        # None of these means that the container has none, whatever its image says.
        values |= {"Entrypoint": config["Entrypoint"], "Cmd": config["Cmd"]}
        section = {key: value for key, value in values.items() if value}
        return changing.apply(section, self._wishes.changes)

    def _unpack_unless_copied(self, packed: PackedLayer, diff_ids: list[DiffID]) -> None:
        stack = Stack(self._context.layers, diff_ids)
        position = len(diff_ids) - 1
        with Arrivals(self._context, stack, not_stored) as arrivals:
            layer = Layer(position, packed.digest, packed.size, packed.diff_id)
            arrivals.bring(layer, lambda _status, _current, _total: None)
            arrivals.finish()

    def _manifest(self, image_id: Digest, size: int) -> bytes:
        """The base's layers by the blobs that its manifest names, and the new one."""
        context, stored = self._context, self._base.manifest_digest
        base = json.loads(context.content.read(stored, MANIFEST_LIMIT_BYTES))
        layers = [
            {**entry, "mediaType": media_types.as_oci(entry.get("mediaType", ""))}
            for entry in base["layers"]
        ]
        if self._layer is not None:
            kind = f"{media_types.OCI_LAYER}+gzip"
            size_bytes = self._layer.size
            layers.append({"mediaType": kind, "digest": self._layer.digest, "size": size_bytes})
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": {"mediaType": media_types.OCI_CONFIG, "digest": image_id, "size": size},
            "layers": layers,
        }
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
