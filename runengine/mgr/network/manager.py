"""The network manager: networks, and what containers have reserved on them.

Connecting and disconnecting are operations on a container (``ContainerMgr.connect``): they make
what is reserved here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runengine.errors import Conflict, NotFound, StateError
from runengine.linux.clock import boot_id
from runengine.mgr.network import builtin, options
from runengine.mgr.network.context import NetworkContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runengine.config import Config
    from runengine.mgr.events import Events
    from runengine.mgr.network.request import NetworkConfig
    from runengine.netns.firewall import Firewall
    from runengine.netns.types import Counters, Endpoint, Published
    from runengine.store.network_types import Network, ReservedEndpoint, WantedEndpoint
    from runengine.store.store import Store


class NetworkMgr:
    """Operations on networks.

    ``name`` is a name, an id or a unique id prefix everywhere. Besides what each operation
    documents, all raise NotFound and AmbiguousName.
    """

    def __init__(
        self, config: Config, store: Store, events: Events, settle: Callable[[str], None]
    ) -> None:
        self.notices: list[str] = []
        """What was changed on the host that its operator may want to know, such as forwarding."""
        self._context = NetworkContext(config, store, events, settle, self.notices)

    @property
    def firewall(self) -> Firewall:
        """The engine's nftables table."""
        return self._context.firewall

    # Networks

    def create(self, name: str, config: NetworkConfig | None = None) -> Network:
        """Create a network; without ``config`` a bridge. See ``create.create``."""
        from runengine.mgr.network import create
        from runengine.mgr.network.request import network_config

        return create.create(self._context, name, config or network_config())

    def get(self, name: str) -> Network:
        """The network: by its exact name, else by its id, else by a unique prefix of one."""
        networks = self._context.store.networks
        try:
            found = networks.get(networks.resolve(name))
        except NotFound:
            builtin.ensure(self._context, bridge=name == builtin.BRIDGE)
            found = networks.get(networks.resolve(name))
        if found.removing:
            raise NotFound(f"network {name} not found")
        return found

    def get_network_by_name(self, name: str) -> Network:
        """The network with exactly this name."""
        found = self.get(name)
        if found.name != name:
            raise NotFound(f"network {name} not found")
        return found

    def get_network_by_partial_id(self, partial_id: str) -> Network:
        """The only network whose id begins like this."""
        builtin.ensure(self._context)
        return self.get(self._context.store.networks.resolve_id(partial_id))

    def get_networks_by_partial_id(self, partial_id: str) -> list[Network]:
        """Every network whose id begins like this; none is no error."""
        builtin.ensure(self._context)
        return [
            network
            for network in self._context.store.networks.all()
            if network.id.startswith(partial_id)
        ]

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
        """Networks in the shape of Docker's ``/networks``. See ``show.list_networks``."""
        from runengine.mgr.network import show

        builtin.ensure(self._context)
        return show.list_networks(self._context, filters or {})

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's ``/networks/{id}``, with the containers on it."""
        from runengine.mgr.network import show

        return show.inspect(self._context, self.get(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a network. Raises Conflict while containers are on it, or for a built-in one.

        ``force``: one that is not there is no error, and a damaged record is removed too.
        """
        from runengine.mgr.network import removal

        try:
            network = self.get(name)
        except NotFound:
            if not force:
                raise
            return
        except StateError:
            if not force:
                raise
            removal.discard(self._context, self._context.store.networks.resolve(name))
            return
        removal.remove(self._context, network)

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[str]:
        """Remove networks that no container, running or not, is on; returns their names.

        Filters: label, label!, until. Raises InvalidParameter.
        """
        from runengine.mgr.network import removal

        return removal.prune(self._context, filters or {})

    def reload(self, names: Sequence[str] = ()) -> Sequence[str]:
        """Put networks on the host again after others took them away. See ``reload.reload``."""
        from runengine.mgr.network import reload

        builtin.ensure(self._context)
        networks = [self.get(name) for name in names] or self._context.store.networks.all()
        return reload.reload(self._context, networks)

    def mend(self) -> bool:
        """Write the firewall's table anew if somebody has flushed it; whether that was so."""
        from runengine.mgr.network import up

        return up.mend(self._context)

    def take_down(self) -> None:
        """Take the networks off the host that no container is on; they come back when used."""
        from runengine.mgr.network import removal

        removal.take_down(self._context)

    # Wishes of containers

    def want(self, container_id: str, wanted: Sequence[WantedEndpoint]) -> None:
        """Keep wishes for the container's next starts; those for other networks stay."""
        self._context.store.endpoints.want(container_id, self._by_id(wanted))

    def _by_id(self, wanted: Iterable[WantedEndpoint]) -> Sequence[WantedEndpoint]:
        found = []
        for wish in wanted:
            network = self.get(wish.network)
            found.append(wish._replace(network=network.id, network_name=network.name))
        return found

    def unwant(self, container_id: str, network_id: str) -> None:
        """Forget the wishes for a network, whose endpoint is released already. Idempotent."""
        self._context.store.endpoints.unwant(container_id, network_id)

    def wanted_of(self, container_id: str) -> Sequence[WantedEndpoint]:
        """The wishes kept; where a network was removed and made anew, for the new one."""
        endpoints, networks = self._context.store.endpoints, self._context.store.networks
        found = []
        for wish in endpoints.wanted_of(container_id):
            named = None if networks.has(wish.network) else networks.find_id(wish.network_name)
            if named is not None:
                endpoints.move_wishes(container_id, wish.network, named)
            found.append(wish._replace(network=named) if named else wish)
        return found

    # What containers have

    def reserve(
        self, container_id: str, wanted: Sequence[WantedEndpoint]
    ) -> Sequence[ReservedEndpoint]:
        """Decide addresses, MAC, names and ports, and record all of it at once, or nothing.

        What the container had on these networks before is freed; the wishes are kept. Raises
        Conflict naming who has what is wanted, InvalidParameter for what cannot be given.
        """
        from runengine.mgr.network import reserve

        return reserve.reserve(self._context, container_id, self._by_id(wanted))

    def release(self, container_id: str, network_id: str | None = None) -> None:
        """Take back the published ports of a run and free them and its addresses, on one network
        or on all. Idempotent.
        """
        from runengine.mgr.network import up

        up.release(self._context, container_id, network_id)

    def endpoints_of(self, container_id: str) -> Sequence[ReservedEndpoint]:
        """What the container has reserved, in the order in which it was wanted."""
        return self._context.store.endpoints.of(container_id)

    def endpoints_on(self, network_id: str) -> Sequence[ReservedEndpoint]:
        """What is reserved on a network since this boot."""
        return self._context.store.endpoints.on(network_id, boot_id())

    def endpoint_list(self) -> Sequence[ReservedEndpoint]:
        """What is reserved on any network since this boot."""
        return self._context.store.endpoints.of_boot(boot_id())

    def endpoint_info(self, endpoint_id: str) -> ReservedEndpoint:
        """The endpoint with this id. Raises NotFound."""
        for endpoint in self.endpoint_list():
            if endpoint.id == endpoint_id:
                return endpoint
        raise NotFound(f"endpoint {endpoint_id[:12]} not found")

    def get_network_stats(self, container: str) -> Mapping[str, Counters]:
        """What went through each interface of a running container. Raises Conflict."""
        from runengine.linux import pidfd
        from runengine.netns import counters

        containers = self._context.store.containers
        record = containers.get(containers.resolve(container))
        pid, start_time = record.state["Pid"], record.state["StartTime"]
        with suppress(NotFound):
            found = counters.read(pid)
            if pidfd.is_alive(pid, start_time):  # so it was when it was read
                return found
        raise Conflict(f"Container {record.name} is not running")

    def published_of(self, container_id: str) -> Sequence[Published]:
        """The container's published ports, as the firewall takes them."""
        from runengine.mgr.network import up

        return up.published(self.endpoints_of(container_id))

    def host_addresses(self) -> Sequence[str]:
        """The host's addresses by which others reach it. See ``exposure.host_addresses``."""
        from runengine.mgr.network import exposure

        return exposure.host_addresses(self._context)

    # On the host

    def ensure_up(self, network: Network) -> None:
        """Make the network's bridge and firewall part if anything of them is missing.

        Raises Conflict (the device is another's), NotFound (parent link), Unsupported.
        """
        from runengine.mgr.network import up

        if network.driver == "bridge" or network.driver in options.MODES:
            up.ensure_up(self._context, network)

    def link_of(self, reserved: ReservedEndpoint, *, default_route: bool) -> Endpoint:
        """The endpoint as ``netns.endpoint.attach`` takes it."""
        from runengine.mgr.network import up

        return up.link_of(reserved, default_route=default_route)

    def publish(self, published: Sequence[Published]) -> None:
        """Publish ports; a table that somebody flushed is written anew. One transaction."""
        from runengine.mgr.network import up

        up.publish(self._context, published)

    def refresh_names(self, network_ids: Iterable[str]) -> None:
        """Write what the resolver answers on these networks anew, from what is reserved."""
        from runengine.mgr.network import names

        names.refresh(self._context, network_ids)
