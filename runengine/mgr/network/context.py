"""What every operation on networks works with."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, TimedOut
from runengine.linux.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runengine.config import Config
    from runengine.mgr.events import Events
    from runengine.netns.firewall import Firewall
    from runengine.store.store import Store

LOCK_TIMEOUT_S = 60.0
"""How long a network's links may take to be made or removed by somebody else."""


class HeldError(Exception):
    """Containers have what is wanted; ``error`` says so, should they turn out to need it."""

    def __init__(self, error: EngineError, holders: Iterable[str]) -> None:
        super().__init__(str(error))
        self.error = error
        self.holders = list(holders)


class LostError(Exception):
    """What was decided on is another's by now, or is no more: decide again."""


class NetworkContext(NamedTuple):
    """The engine as the network operations see it."""

    config: Config
    store: Store
    events: Events
    settle: Callable[[str], None]
    """Bring a container in line with what is: one that has ended gives back what it has."""
    notices: list[str]
    """What the engine changed on the host that its operator may want to know."""

    @property
    def firewall(self) -> Firewall:
        """The engine's nftables table."""
        from runengine.netns.firewall import Firewall

        return Firewall(self.config.paths.firewall_table)

    @property
    def default_device(self) -> str:
        """The bridge of the default network."""
        instance = self.config.paths.instance
        return f"re{instance}" if instance else "runengine0"

    @property
    def directory(self) -> str:
        """Locks and notes of the networks, for this boot."""
        return f"{self.config.paths.state}/networks"

    def lock_path(self, network_id: str) -> str:
        """The lock under which a network's links are made and removed."""
        return f"{self.directory}/{network_id}.lock"

    @contextmanager
    def locked(self, network_id: str) -> Iterator[None]:
        """Hold a network's lock. Raises TimedOut."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        try:
            with locked(self.lock_path(network_id), timeout_s=LOCK_TIMEOUT_S):
                yield
        except TimeoutError:
            raise TimedOut(
                f"network {network_id[:12]} is busy with another operation",
                resolution=f"see who holds {self.lock_path(network_id)}",
            ) from None

    def reclaim(self, holders: Iterable[str]) -> None:
        """Let containers that have ended give back what they still have."""
        for container_id in dict.fromkeys(holders):
            self.settle(container_id)

    @property
    def names_directory(self) -> str:
        """The resolver's tables."""
        return f"{self.config.paths.state}/dns"

    def plain_name_of(self, container_id: str) -> str:
        """A container's name, or its short id if its record cannot be read."""
        try:
            return self.store.containers.get(container_id).name
        except EngineError:  # gone or damaged
            return container_id[:12]

    def name_of(self, container_id: str) -> str:
        """A container as an error names it."""
        name, short = self.plain_name_of(container_id), container_id[:12]
        return f"{name} ({short})" if name != short else short
