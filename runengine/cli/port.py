"""``port``: where a container's ports are published, and who can reach them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, port_texts, table
from runengine.cli.command import ArgumentError, FlagError, argument, command
from runengine.cli.flags import flag
from runengine.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@command(
    "port",
    usage="[OPTIONS] CONTAINER [PRIVATE_PORT[/PROTO]]",
    latest=True,
    params=[
        flag(
            "-e --exposure",
            "bool",
            help="Show who can reach the published ports; without CONTAINER of all that run",
        ),
    ],
)
@argument("name", required=False)
@argument("private", required=False)
@click.pass_context
def port(ctx: click.Context, /, name: str | None, private: str | None, exposure: bool) -> None:
    """List port mappings or a specific mapping for the container."""
    if exposure and private is not None:
        raise FlagError("--exposure is of all ports of a container", ctx)
    if exposure:
        _show_exposure(ctx, name)
    elif name is None:
        raise ArgumentError("runengine: 'runengine port' requires at least 1 argument", ctx)
    else:
        _show(ctx, name, private)


def _show(ctx: click.Context, name: str, private: str | None) -> None:
    from runengine.mgr.network.port_wishes import parse_port

    found = context.engine(ctx).containers.inspect(name)["NetworkSettings"]["Ports"]
    if private is None:
        for key, bindings in found.items():
            context.write("".join(f"{key} -> {text}\n" for text in _texts(bindings)))
        return
    number, protocol = parse_port(private)
    texts = _texts(found.get(f"{number}/{protocol}"))
    if not texts:
        raise NotFound(f"No public port '{number}/{protocol}' published for {name}")
    context.write("".join(f"{text}\n" for text in texts))


def _texts(bindings: Iterable[dict[str, Any]] | None) -> list[str]:
    return [port_texts.socket_address(one["HostIp"], one["HostPort"]) for one in bindings or ()]


def _show_exposure(ctx: click.Context, name: str | None) -> None:
    """One line for each address of each container; ports in a row are one word."""
    from runengine.mgr.network import exposure

    engine = context.engine(ctx)
    filters = {} if name is None else {"id": [engine.containers.inspect(name)["Id"]]}
    own = engine.networks.host_addresses()
    lines: list[Sequence[str]] = [("CONTAINER", "PUBLISHED", "REACHED BY")]
    for entry in engine.containers.list(filters=filters):
        for address, ports in _by_address(entry["Ports"]):
            shown = entry["Names"][0].lstrip("/")
            lines.append((shown, port_texts.listed(ports), exposure.reach(address, own)))
    context.write(table.align(lines))


def _by_address(ports: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in ports:
        if one.get("PublicPort"):
            found.setdefault(one["IP"], []).append(one)
    yield from sorted(found.items())
