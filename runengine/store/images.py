"""Image names and what they stand for."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runengine.store.database import Database


class ImageRow(NamedTuple):
    """A name: normalised, ``docker.io/library/debian:12`` or ``repository@sha256:...``."""

    name: str
    image_id: str
    manifest_digest: str
    created_at: float  # seconds since the epoch


class StoredImage(NamedTuple):
    """An image whose layers are all unpacked."""

    image_id: str  # digest of the image config
    manifest_digest: str
    media_type: str
    config: str  # the image config document, JSON
    layers: list[str]  # keys in the layer store, bottom first
    size_bytes: int  # unpacked layers
    created_at: float  # when it came here, seconds since the epoch


_NAME = "SELECT name, image_id, manifest_digest, created_at FROM image_names"
_IMAGE = (
    "SELECT image_id, manifest_digest, media_type, config, layers, size_bytes, created_at"
    " FROM images"
)


class Images:
    """The tables ``images`` and ``image_names``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection

    def put_image(
        self,
        image_id: str,
        manifest_digest: str,
        *,
        config: str,
        layers: list[str],
        size_bytes: int,
        media_type: str,
    ) -> None:
        """Add the image, or refresh its manifest and layers; the first arrival time stays."""
        with self._database.write(grows=True) as connection:
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (image_id) DO UPDATE SET manifest_digest = excluded.manifest_digest,"
                " media_type = excluded.media_type, layers = excluded.layers,"
                " size_bytes = excluded.size_bytes",
                (
                    image_id,
                    manifest_digest,
                    media_type,
                    config,
                    json.dumps(layers),
                    size_bytes,
                    time.time(),
                ),
            )

    def set_config(self, image_id: str, config: str) -> None:
        """Replace the config document of an image's record."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE images SET config = ? WHERE image_id = ?", (config, image_id)
            )

    def set_name(self, name: str, image_id: str, manifest_digest: str) -> str | None:
        """Point ``name`` at the image; returns the image id it pointed at before."""
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT image_id FROM image_names WHERE name = ?", (name,)
            ).fetchone()
            connection.execute(
                "INSERT OR REPLACE INTO image_names VALUES (?, ?, ?, ?)",
                (name, image_id, manifest_digest, time.time()),
            )
        return str(row[0]) if row else None

    def remove_name(self, name: str) -> bool:
        """Forget ``name``; False if it was not there."""
        with self._database.write() as connection:
            return (
                connection.execute("DELETE FROM image_names WHERE name = ?", (name,)).rowcount > 0
            )

    def find_name(self, name: str) -> ImageRow | None:
        """The row of exactly this normalised name."""
        row = self._connection.execute(f"{_NAME} WHERE name = ?", (name,)).fetchone()
        return ImageRow(*row) if row else None

    def names(self) -> list[ImageRow]:
        """Every name, sorted."""
        return [ImageRow(*row) for row in self._connection.execute(f"{_NAME} ORDER BY name")]

    def names_of(self, image_id: str) -> list[str]:
        """Names of one image, sorted."""
        rows = self._connection.execute(
            "SELECT name FROM image_names WHERE image_id = ? ORDER BY name", (image_id,)
        )
        return [row[0] for row in rows]

    def get_image(self, image_id: str) -> StoredImage | None:
        """The image with this full id."""
        row = self._connection.execute(f"{_IMAGE} WHERE image_id = ?", (image_id,)).fetchone()
        return _stored(row) if row else None

    def find_ids(self, prefix: str) -> list[str]:
        """Image ids that begin with ``prefix`` (hex, ``sha256:`` optional)."""
        low = "sha256:" + prefix.removeprefix("sha256:")
        rows = self._connection.execute(
            "SELECT image_id FROM images WHERE image_id >= ? AND image_id < ? ORDER BY image_id",
            (low, low + "g"),
        )
        return [row[0] for row in rows]

    def all(self) -> list[StoredImage]:
        """Every image, the newest first."""
        rows = self._connection.execute(f"{_IMAGE} ORDER BY created_at DESC")
        return [_stored(row) for row in rows]

    def remove_image(self, image_id: str) -> None:
        """Forget the image and every name of it."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM image_names WHERE image_id = ?", (image_id,))
            connection.execute("DELETE FROM images WHERE image_id = ?", (image_id,))


def _stored(row: tuple[str, str, str, str, str, int, float]) -> StoredImage:
    image_id, manifest, media_type, config, layers, size_bytes, created_at = row
    return StoredImage(
        image_id, manifest, media_type, config, json.loads(layers), size_bytes, created_at
    )
