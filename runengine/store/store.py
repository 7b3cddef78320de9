"""All tables over one connection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.store.containers import Containers
from runengine.store.database import Database
from runengine.store.endpoints import Endpoints
from runengine.store.execs import Execs
from runengine.store.images import Images
from runengine.store.networks import Networks
from runengine.store.volumes import Volumes

if TYPE_CHECKING:
    from runengine.paths import Paths


class Store:
    """The engine's durable state."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.containers = Containers(database)
        self.images = Images(database)
        self.execs = Execs(database)
        self.networks = Networks(database)
        self.endpoints = Endpoints(database)
        self.volumes = Volumes(database)

    @classmethod
    def open(cls, paths: Paths) -> Store:
        """Open the store, making the root directory (0711) where it is missing.

        Raises Unavailable if the directory cannot be made, StateError for a damaged database.
        """
        try:
            os.makedirs(paths.root, mode=0o711, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make {paths.root}: {error.strerror}") from None
        return cls(Database(paths.database))

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    def leave(self) -> None:
        """Close it by the end of the process. See ``Database.leave``."""
        self.database.leave()
