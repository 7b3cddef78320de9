"""What every operation on containers works with."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from runengine.errors import NotFound, TimedOut, Unavailable
from runengine.linux.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from runengine.config import Config
    from runengine.mgr.events import Events
    from runengine.mgr.image.commit import Commit, Wishes
    from runengine.netns.firewall import Firewall
    from runengine.netns.types import Endpoint, Published
    from runengine.paths import Paths
    from runengine.store.containers import Record
    from runengine.store.images import StoredImage
    from runengine.store.network_types import Network, ReservedEndpoint, WantedEndpoint
    from runengine.store.store import Store
    from runengine.store.volumes import Volume

STALL_S = 2.0
"""After so long a wait for another operation it is looked, now and then, whether it is stopped."""


class ImageSource(Protocol):
    """What containers need of the image manager."""

    def lookup(self, name: str) -> StoredImage:
        """The image with this name, id or unique id prefix. Raises NotFound."""

    def layer_paths(self, layers: list[str]) -> list[str]:
        """The unpacked directories of these layers, bottom first. Raises NotFound."""

    def begin_commit(
        self, image_id: str, layers: list[str], wishes: Wishes
    ) -> AbstractContextManager[Commit]:
        """Around the making of an image from a container. See ``mgr.image.commit``."""

    def collect_garbage(self) -> object:
        """Delete layers that neither an image nor a container refers to."""


class NetworkSource(Protocol):
    """What containers need of the network manager (``mgr.network.manager``).

    The caller holds the container's lock for everything that takes a container's id.
    """

    @property
    def firewall(self) -> Firewall:
        """The engine's nftables table."""

    def get(self, name: str) -> Network:
        """The network with this name, id or unique id prefix. Raises NotFound, AmbiguousName."""

    def want(self, container_id: str, wanted: Sequence[WantedEndpoint]) -> None:
        """Keep wishes for the container's next starts; those for other networks stay."""

    def unwant(self, container_id: str, network_id: str) -> None:
        """Forget the wishes for a network, whose endpoint is released already. Idempotent."""

    def wanted_of(self, container_id: str) -> Sequence[WantedEndpoint]:
        """The wishes kept, each with the id of the network that now has its name."""

    def reserve(
        self, container_id: str, wanted: Sequence[WantedEndpoint]
    ) -> Sequence[ReservedEndpoint]:
        """Decide addresses, MAC, names and ports, and record all of it at once, or nothing.

        Keeps the wishes too. Raises NotFound, Conflict, InvalidParameter, Unavailable.
        """

    def release(self, container_id: str, network_id: str | None = None) -> None:
        """Free the addresses and ports of a run, on one network or on all. Idempotent."""

    def endpoints_of(self, container_id: str) -> Sequence[ReservedEndpoint]:
        """What the container has reserved, in the order in which it was wanted."""

    def endpoints_on(self, network_id: str) -> Sequence[ReservedEndpoint]:
        """What is reserved on a network."""

    def ensure_up(self, network: Network) -> None:
        """Make the network's bridge and firewall part if anything of them is missing."""

    def link_of(self, reserved: ReservedEndpoint, *, default_route: bool) -> Endpoint:
        """The endpoint as ``netns.endpoint.attach`` takes it."""

    def publish(self, published: Sequence[Published]) -> None:
        """Publish ports; a table that somebody flushed is written anew. One transaction."""

    def refresh_names(self, network_ids: Iterable[str]) -> None:
        """Write what the resolver answers on these networks anew, from what is reserved."""


class VolumeSource(Protocol):
    """What containers need of the volume manager (``mgr.volume.manager``)."""

    def attach_all(
        self, container_id: str, wanted: Sequence[Volume], anonymous: Iterable[str] = ()
    ) -> Sequence[Volume]:
        """Note that a container mounts volumes, making those that are not there.

        Raises InvalidParameter, NotFound (driver), Conflict, Unsupported, Unavailable.
        """

    def list(
        self, filters: Mapping[str, Sequence[str]] | None = None, *, usage: bool = False
    ) -> list[dict[str, Any]]:
        """Volumes in Docker's shape; with ``usage`` what each takes up and who mounts it."""

    def place(self, volume: Volume) -> str:
        """Where the volume's data is or will be; empty where only its driver knows."""

    def populate(
        self,
        volume: Volume,
        target: str,
        rootfs: str,
        destination: str,
        owners: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:
        """Copy what a mounted root has at ``destination`` to ``target`` in an empty volume.

        ``owners`` tells whose the copies are, if not the same as there. Raises InvalidParameter,
        Unavailable.
        """

    def holds(self, names: Sequence[str], container_id: str) -> bool:
        """Whether any of these is mounted for the container's run."""

    def hold(self, volume: Volume, container_id: str) -> str:
        """Have the data there for a container that starts; where. Raises EngineError."""

    def release(self, names: Sequence[str], container_id: str) -> None:
        """A container that held volumes has ended. Idempotent; never fails."""

    def drop(self, container_id: str, names: Sequence[str]) -> None:
        """A container mounts these no more: remove those that no other does. Never fails."""

    def leave(self, container_id: str, *, anonymous: bool, made: bool) -> None:
        """A container goes: remove its anonymous volumes, and those that it was the first to
        mount (``made``), unless others mount them. Idempotent; never fails.
        """


class Context(NamedTuple):
    """The engine as the container operations see it."""

    config: Config
    store: Store
    images: ImageSource
    events: Events
    networks: NetworkSource
    volumes: VolumeSource
    notices: list[str]
    """What the operator must know of a start that did not fail."""

    @property
    def paths(self) -> Paths:
        """The engine's directories."""
        return self.config.paths

    def data_dir(self, container_id: str) -> str:
        """Persistent directory of a container."""
        return self.paths.container(container_id)

    def state_dir(self, container_id: str) -> str:
        """Volatile directory of a container."""
        return self.paths.container_state(container_id)

    def resolve(self, name: str) -> str:
        """Full id for an id, name or unique prefix. Raises NotFound, AmbiguousName."""
        return self.store.containers.resolve(name)

    @contextmanager
    def locked(self, container_id: str, *, timeout_s: float | None = None) -> Iterator[Record]:
        """Hold the container's lock and give its record as it is now.

        Raises NotFound if it was removed while we waited, TimedOut after ``timeout_s``, or if who
        holds it is stopped.
        """
        with ExitStack() as stack:
            stack.enter_context(self.reserved(container_id, timeout_s=timeout_s))
            record = self.find(container_id)
            if record is None:
                discard_directory(self.state_dir(container_id))
                raise NotFound(f"No such container: {container_id[:12]}")
            if "swap" in record.details:
                from runengine.mgr.container import swap

                record = swap.finish(self, record)  # who began it has died
            yield record

    @contextmanager
    def reserved(self, container_id: str, *, timeout_s: float | None = None) -> Iterator[None]:
        """Hold the container's lock whether there is a record or not. Raises TimedOut."""
        with ExitStack() as stack:
            self._take_lock(stack, container_id, timeout_s)
            yield

    def _take_lock(self, stack: ExitStack, container_id: str, timeout_s: float | None) -> None:
        directory = self.state_dir(container_id)
        while True:
            make_private_directory(directory)
            patience_s = STALL_S if timeout_s is None else timeout_s
            try:
                stack.enter_context(locked(f"{directory}/lock", timeout_s=patience_s))
                return
            except FileNotFoundError:
                continue  # the directory went with its container just now
            except TimeoutError:
                if timeout_s is None:
                    from runengine.mgr.container import stalled

                    stalled.refuse_held(self, container_id)
                    continue
                raise TimedOut(
                    f"container {container_id[:12]} is busy with another operation"
                ) from None

    def find(self, container_id: str) -> Record | None:
        """The record with this full id, or None."""
        try:
            return self.store.containers.get(container_id)
        except NotFound:
            return None


def make_private_directory(path: str) -> None:
    """Make ``path`` and its parents, for root's eyes only. Raises Unavailable."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make directory {path}: {error.strerror}") from None


def discard_directory(path: str) -> None:
    """Remove a directory that only this boot or this attempt needed, as far as possible."""
    from runengine.rootfs.walk import remove_tree

    with suppress(OSError):
        remove_tree(path)
