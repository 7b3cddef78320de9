"""``mount`` and ``unmount``: look into containers by the host's own tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.cli.table import align
from runengine.errors import InvalidParameter
from runengine.ids import SHORT_ID_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.looking import Mounted
    from runengine.mgr.engine import Engine


@command(
    "mount",
    usage="[OPTIONS] [CONTAINER...]",
    latest=True,
    params=[
        flag("-a --all", "bool", help="Mount all containers"),
        flag("--format", help="How to list what is mounted (json, table)"),
        flag("--no-trunc --notruncate", "bool", help="Do not truncate ids"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def mount(ctx: click.Context, /, **params: Any) -> None:
    """Mount the root filesystems of containers to look into them.

    Prints where. Without any CONTAINER those that are mounted are listed.
    """
    engine, names = context.engine(ctx), _targets(params)
    if not names and not params["all"]:
        _list(engine.containers.list_mounted(), params)
        return
    if params["all"]:
        names = [found["Id"] for found in engine.containers.list(all=True)]
    lone = len(names) == 1 and not params["all"]

    def act(name: str) -> str:
        path = engine.containers.mount(name)
        return path if lone else f"{name} {path}"

    context.for_each(names, act)


@command(
    "unmount",
    usage="[OPTIONS] [CONTAINER...]",
    latest=True,
    params=[flag("-a --all", "bool", help="Unmount all containers")],
)
@argument("names", nargs=-1)
@click.pass_context
def unmount(ctx: click.Context, /, **params: Any) -> None:
    """Unmount the root filesystems of containers.

    Of those that run only what `mount` has shown goes; they keep their own.
    """
    engine, names = context.engine(ctx), _targets(params)
    if params["all"]:
        names = [found.id for found in engine.containers.list_mounted()]
    elif not names:
        raise InvalidParameter("name a container, or use --all")
    context.for_each(names, lambda name: _unmount(engine, name))


def _unmount(engine: Engine, name: str) -> str:
    engine.containers.unmount(name)
    return name


def _targets(params: dict[str, Any]) -> list[str]:
    if params["all"] and params["names"]:
        raise InvalidParameter("--all and names of containers exclude each other")
    return list(params["names"])


def _list(found: Sequence[Mounted], params: dict[str, Any]) -> None:
    form = params["format"] or "table"
    if form not in ("json", "table"):
        raise InvalidParameter(f"unknown format {form!r}", resolution="use json or table")
    if form == "json":
        rows = [{"Id": one.id, "Name": one.name, "Path": one.path} for one in found]
        context.write(json.dumps(rows, indent=4) + "\n")
        return
    length = None if params["no_trunc"] else SHORT_ID_LENGTH
    if found:
        context.write(align([(one.id[:length], one.name, one.path) for one in found]))
