"""``port``: where a container's ports are published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.port_texts import socket_address
from runengine.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable


@command("port", usage="CONTAINER [PRIVATE_PORT[/PROTO]]")
@argument("name", required=True)
@argument("private", required=False)
@click.pass_context
def port(ctx: click.Context, /, name: str, private: str | None) -> None:
    """List port mappings or a specific mapping for the container."""
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
    return [socket_address(one["HostIp"], one["HostPort"]) for one in bindings or ()]
