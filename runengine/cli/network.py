"""The commands of ``network``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import asking, context, env_files, network_specs, table
from runengine.cli.command import Option, argument, command
from runengine.cli.filters import filter_option
from runengine.cli.flags import flag
from runengine.cli.formats import FORMAT_HELP, heading_option, list_format, quiet_format
from runengine.errors import NotFound
from runengine.model import endpoint_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.network.request import NetworkConfig
    from runengine.model import EndpointConfig

PRUNE_WARNING = (
    "WARNING! This will remove all custom networks not used by at least one container."
)


def key_value(text: str) -> tuple[str, str]:
    """``KEY=VALUE``; a key alone has an empty value. Raises ValueError."""
    key, _, value = text.partition("=")
    if not key.strip():
        raise ValueError(f"invalid key=value pair {text!r}: the key is missing")
    return key.strip(), value.strip()


def words(text: str) -> list[str]:
    """Several values in one, with commas. Raises ValueError for an empty one."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise ValueError(f"{text!r} has an empty value")
    return found


def _all(values: Iterable[list[str]]) -> list[str]:
    return [word for some in values for word in some]


@command(
    "create",
    usage="[OPTIONS] NETWORK",
    params=[
        flag("--attachable", "bool", help="Enable manual container attachment"),
        flag("--aux-address", "list", convert=key_value,
             help="Auxiliary IPv4 or IPv6 addresses used by Network driver (NAME=ADDRESS)"),
        flag("--config-from", default="",
             help="The network from which to copy the configuration (not supported)"),
        flag("--config-only", "bool",
             help="Create a configuration only network (not supported)"),
        flag("-d --driver", default="bridge", help="Driver to manage the Network"),
        flag("--gateway", "list", convert=words,
             help="IPv4 or IPv6 Gateway for the master subnet"),
        flag("--ingress", "bool", help="Create swarm routing-mesh network (not supported)"),
        flag("--internal", "bool", help="Restrict external access to the network"),
        flag("--ip-range", "list", convert=words, help="Allocate container ip from a sub-range"),
        flag("--ipam-driver", default="default", help="IP Address Management Driver"),
        flag("--ipam-opt", "list", convert=key_value, help="Set IPAM driver specific options"),
        flag("--ipv4", "bool", default=True, help="Enable or disable IPv4 address assignment"),
        flag("--ipv6", "bool", help="Enable or disable IPv6 address assignment"),
        flag("--label", "list", help="Set metadata on a network"),
        flag("-o --opt", "list", convert=key_value, help="Set driver specific options"),
        flag("--scope", default="", help="Control the network's scope (local)"),
        flag("--subnet", "list", convert=words,
             help="Subnet in CIDR format that represents a network segment"),
    ],
)
@argument("name")
@click.pass_context
def create(ctx: click.Context, /, name: str, **params: Any) -> None:
    """Create a network."""
    config = _config(params)
    context.write(f"{context.engine(ctx).networks.create(name, config).id}\n")


def _config(params: dict[str, Any]) -> NetworkConfig:
    from runengine.cli import network_ipam
    from runengine.mgr.network.request import network_config

    config = network_config(params["driver"])
    config["Scope"] = params["scope"]
    config["EnableIPv4"], config["EnableIPv6"] = params["ipv4"], params["ipv6"]
    config["Internal"], config["Attachable"] = params["internal"], params["attachable"]
    config["Ingress"], config["ConfigOnly"] = params["ingress"], params["config_only"]
    config["ConfigFrom"] = params["config_from"]
    config["IPAMDriver"] = params["ipam_driver"]
    config["IPAMOptions"] = dict(params["ipam_opt"])
    config["Options"] = dict(params["opt"])
    config["Labels"] = env_files.labels(params["label"], ())
    config["IPAM"] = network_ipam.pools(
        _all(params["subnet"]),
        _all(params["ip_range"]),
        _all(params["gateway"]),
        dict(params["aux_address"]),
    )
    return config


@command(
    "ls",
    params=[
        filter_option("-f"),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(["--no-trunc", "full"], is_flag=True, help="Do not truncate the output"),
        heading_option("-n"),
        Option(["-q", "--quiet"], is_flag=True, help="Only display network IDs"),
    ],
)
@click.pass_context
def ls(ctx: click.Context, /, **options: Any) -> None:
    """List networks."""
    from runengine.cli.network_rows import LAYOUT, NetworkRow

    found = context.engine(ctx).networks.list(options["filters"])
    rows = [NetworkRow(entry, full=options["full"]) for entry in found]
    if options["quiet"]:
        quiet_format(options["form"])
        context.write("".join(f"{row.field('ID')}\n" for row in rows))
        return
    layout = LAYOUT._replace(heading=not options["bare"])
    context.write(table.render(rows, layout, list_format(options, "networksFormat")))


@command("exists", usage="NETWORK")
@argument("name")
@click.pass_context
def exists(ctx: click.Context, /, name: str) -> None:
    """Exit 0 if the network is here, 1 if it is not."""
    try:
        context.engine(ctx).networks.get(name)
    except NotFound:
        ctx.exit(1)


@command(
    "rm",
    usage="NETWORK [NETWORK...]",
    params=[flag("-f --force", "bool", help="Do not error if the network does not exist")],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def rm(ctx: click.Context, /, names: tuple[str, ...], *, force: bool) -> None:
    """Remove one or more networks."""
    manager = context.engine(ctx).networks
    context.for_each(names, lambda name: manager.remove(name, force=force))


@command(
    "prune",
    params=[
        filter_option(),
        flag("-f --force", "bool", help="Do not prompt for confirmation"),
    ],
)
@click.pass_context
def prune(ctx: click.Context, /, filters: dict[str, list[str]], *, force: bool) -> None:
    """Remove all unused networks."""
    if not force and not asking.agreed(PRUNE_WARNING):
        return
    removed = context.engine(ctx).networks.prune(filters)
    if removed:
        context.write("Deleted Networks:\n" + "".join(f"{name}\n" for name in removed) + "\n")


@command("reload", usage="[NETWORK...]")
@argument("names", nargs=-1)
@click.pass_context
def reload(ctx: click.Context, /, names: tuple[str, ...]) -> None:
    """Put bridges, firewall rules and published ports of running containers on the host again.

    After the host's firewall was flushed or a bridge was deleted: what is recorded is made anew.
    """
    done = context.engine(ctx).networks.reload(names)
    context.write("".join(f"{name}\n" for name in done))


@command(
    "connect",
    usage="[OPTIONS] NETWORK CONTAINER",
    params=[
        flag("--alias", "list", convert=words, help="Add network-scoped alias for the container"),
        flag("--driver-opt", "list", help="driver options for the network"),
        flag("--gw-priority", default="",
             help="Highest gw-priority provides the default gateway. Accepts positive and negative"
             " values."),
        flag("--ip", default="", help='IPv4 address (e.g., "172.30.100.104")'),
        flag("--ip6", default="", help='IPv6 address (e.g., "2001:db8::33")'),
        flag("--link", "list", help="Add link to another container"),
        flag("--link-local-ip", "list", convert=words,
             help="Add a link-local address for the container"),
        flag("--mac-address", default="", help='MAC address (e.g., "92:d0:c6:0a:29:33")'),
    ],
)
@argument("network")
@argument("container")
@click.pass_context
def connect(ctx: click.Context, /, network: str, container: str, **params: Any) -> None:
    """Connect a container to a network."""
    context.engine(ctx).containers.connect(container, network, _endpoint(params))


def _endpoint(params: dict[str, Any]) -> EndpointConfig:
    from runengine.errors import InvalidParameter

    given = [
        *(("alias", word) for word in _all(params["alias"])),
        *(("driver-opt", word) for word in params["driver_opt"]),
        *(("link", word) for word in params["link"]),
        *(("link-local-ip", word) for word in _all(params["link_local_ip"])),
        *((key, params[key.replace("-", "_")])
          for key in ("gw-priority", "ip", "ip6", "mac-address")),
    ]
    endpoint = endpoint_config()
    for key, value in given:
        if value:
            try:
                network_specs.set_field(endpoint, key, value)
            except ValueError as error:
                raise InvalidParameter(f"--{key}: {error}") from None
    return endpoint


@command(
    "disconnect",
    usage="[OPTIONS] NETWORK CONTAINER",
    params=[
        flag("-f --force", "bool", help="Force the container to disconnect from a network"),
    ],
)
@argument("network")
@argument("container")
@click.pass_context
def disconnect(ctx: click.Context, /, network: str, container: str, *, force: bool) -> None:
    """Disconnect a container from a network."""
    try:
        context.engine(ctx).containers.disconnect(container, network)
    except NotFound:
        if not force:
            raise
