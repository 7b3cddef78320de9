"""What every operation on volumes works with."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, TimedOut, Unavailable
from runengine.linux.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runengine.config import Config
    from runengine.mgr.events import Events
    from runengine.store.store import Store

LOCK_TIMEOUT_S = 120.0
"""How long a volume may take to be made, mounted, filled or removed by somebody else."""


class VolumeContext(NamedTuple):
    """The engine as the volume operations see it."""

    config: Config
    store: Store
    events: Events
    settle: Callable[[str], None]
    """Bring a container in line with what is: one that has ended gives back what it has."""
    is_busy: Callable[[str], bool]
    """Whether a container runs, or somebody is just at it."""
    notices: list[str]
    """What its operator may want to know beside the result."""

    @property
    def root(self) -> str:
        """Where the local driver keeps its volumes."""
        return f"{self.config.paths.root}/volumes"

    @property
    def directory(self) -> str:
        """Locks and notes of the volumes, for this boot."""
        return f"{self.config.paths.state}/volumes"

    @contextmanager
    def locked(self, name: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold a volume's lock, whoever holds a container's. Raises TimedOut."""
        path = self._lock_path(name)
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            with locked(path, timeout_s=timeout_s):
                yield
        except TimeoutError:
            raise TimedOut(
                f"volume {name} is busy with another operation",
                resolution=f"see who holds {path}",
            ) from None

    def _lock_path(self, name: str) -> str:
        return f"{self.directory}/{name}.lock"

    def drop_lock(self, name: str) -> None:
        """The volume is gone, and with it its lock, which is held: who waits takes a new one."""
        with suppress(OSError):
            os.unlink(self._lock_path(name))

    def users(self, name: str) -> list[str]:
        """Ids of the containers that mount a volume, after those that are over have let go.

        Not to be asked while a volume's lock is held: they take it to let go.
        """
        for container_id in self.store.volumes.users(name):
            self.settle(container_id)
        return self.store.volumes.users(name)

    def names_of(self, containers: Iterable[str]) -> str:
        """Containers as an error names them."""
        return ", ".join(self._name_of(container_id) for container_id in containers)

    def _name_of(self, container_id: str) -> str:
        try:
            name = self.store.containers.get(container_id).name
        except EngineError:  # gone or damaged
            return container_id[:12]
        return f"{name} ({container_id[:12]})"


def explained(error: OSError, what: str) -> Unavailable:
    """The error for operators: the system's own says nothing of the volume."""
    return Unavailable(f"{what}: {error.filename or ''}: {error.strerror}".replace(": : ", ": "))
