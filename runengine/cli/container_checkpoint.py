"""``container checkpoint`` and ``container restore``, as Podman has them.

A container has one checkpoint then, without a name, and a restore uses it up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from runengine.cli import context, selection
from runengine.cli.checkpoint import kept_flags
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.cli.output import archive_input, archive_output
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.mgr.container.checkpoint import Request
    from runengine.mgr.engine import Engine

_CONTAINERS = "[OPTIONS] CONTAINER [CONTAINER...]"


def _shared() -> list[click.Option]:
    return [
        *kept_flags(),
        flag("--ignore-volumes", "bool", help="Leave the data of volumes out of the archive"),
        flag("--print-stats", "bool", help="Print how long it took, as JSON"),
    ]


@command(
    "checkpoint",
    usage=_CONTAINERS,
    latest=True,
    params=[
        *selection.options("Checkpoint all running containers"),
        flag("-e --export", help="Write the checkpoint to a file that restores elsewhere"),
        flag("-k --keep", "bool", help="Keep CRIU's log and statistics (they always are kept)"),
        flag("-R --leave-running", "bool", help="Leave the container running"),
        *_shared(),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def checkpoint(ctx: click.Context, /, **params: Any) -> None:
    """Checkpoint one or more running containers."""
    names = selection.choose(ctx, params, selection.RUNNING).names
    if params["export"] and len(names) != 1:
        raise InvalidParameter("--export is for a single container")
    act = _exported if params["export"] else _kept
    engine = context.engine(ctx)
    _each(names, "checkpoint", params, lambda name: act(engine, name, params))


def _request(params: dict[str, Any]) -> Request:
    from runengine.mgr.container.checkpoint import Request
    from runengine.mgr.container.checkpoint_moving import NAME

    return Request(
        NAME,
        leave_running=params["leave_running"],
        tcp_established=params["tcp_established"],
        file_locks=params["file_locks"],
        replacing=True,
    )


def _kept(engine: Engine, name: str, params: dict[str, Any]) -> _Done:
    return _Done(name, engine.containers.create_checkpoint(name, _request(params)).stats)


def _exported(engine: Engine, name: str, params: dict[str, Any]) -> _Done:
    engine.containers.resolve(name)
    with archive_output(params["export"]) as target:
        made = engine.containers.export_checkpoint(
            name, target, _request(params), ignore_volumes=params["ignore_volumes"]
        )
    return _Done(name, made.stats)


@command(
    "restore",
    usage=_CONTAINERS,
    latest=True,
    params=[
        *selection.options("Restore all checkpointed containers"),
        flag("-i --import file", help="Restore from a file that checkpoint --export wrote"),
        flag("-n --name", help="Give the container from the file another name, and another id"),
        flag("-k --keep", "bool", help="Keep the checkpoint"),
        flag("--ignore-static-ip", "bool", help="Let it have other IP and MAC addresses"),
        flag("--ignore-static-mac", "bool", help="The same"),
        *_shared(),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def restore(ctx: click.Context, /, **params: Any) -> None:
    """Restore one or more containers from a checkpoint."""
    engine = context.engine(ctx)
    if params["file"]:
        if params["names"] or params["everything"]:
            raise InvalidParameter("--import takes no names of containers")
        _each([params["file"]], "restore", params, lambda path: _import(engine, path, params))
        return
    if params["name"]:
        raise InvalidParameter("--name is for --import")
    names = selection.choose(ctx, params, selection.DOWN).names
    if params["everything"]:
        names = [name for name in names if _has_one(engine, name)]
    _each(names, "restore", params, lambda name: _restored(engine, name, params))


def _has_one(engine: Engine, name: str) -> bool:
    from runengine.mgr.container.checkpoint_moving import NAME

    return NAME in engine.containers.list_checkpoint(name)


def _restored(engine: Engine, name: str, params: dict[str, Any]) -> _Done:
    from runengine.mgr.container.checkpoint_moving import NAME
    from runengine.mgr.container.checkpoint_restore import Wanted

    wanted = Wanted(
        NAME,
        tcp_established=params["tcp_established"],
        file_locks=params["file_locks"],
        ignore_addresses=_ignores_addresses(params),
    )
    engine.containers.start(name, checkpoint=wanted)
    if not params["keep"]:
        engine.containers.delete_checkpoint(name, NAME)
    return _Done(name, engine.containers.restore_stats(name))


def _ignores_addresses(params: dict[str, Any]) -> bool:
    return bool(params["ignore_static_ip"] or params["ignore_static_mac"])


def _import(engine: Engine, path: str, params: dict[str, Any]) -> _Done:
    from runengine.mgr.container.checkpoint_moving import Arrival

    arrival = Arrival(
        params["name"] or "",
        keep=params["keep"],
        tcp_established=params["tcp_established"],
        file_locks=params["file_locks"],
        ignore_volumes=params["ignore_volumes"],
        ignore_addresses=_ignores_addresses(params),
    )
    with archive_input(path) as stream:
        made = engine.containers.import_checkpoint(stream, arrival)
    return _Done(made.id, engine.containers.restore_stats(made.id))


class _Done(NamedTuple):
    """A container, and what CRIU has counted."""

    shown: str
    stats: bytes


def _each(
    names: Sequence[str], verb: str, params: dict[str, Any], act: Callable[[str], _Done]
) -> None:
    """Do ``act`` to each; print what they are called, or with ``--print-stats`` that alone."""
    if not params["print_stats"]:
        context.for_each(names, lambda name: act(name).shown)
        return
    import json

    began = time.monotonic()
    entries = [_timed(name, verb, act) for name in names]
    document = {f"podman_{verb}_duration": _us(began), "container_statistics": entries}
    context.write(f"{json.dumps(document, indent=4)}\n")


def _timed(name: str, verb: str, act: Callable[[str], _Done]) -> dict[str, Any]:
    from runengine.runtime import criu

    began = time.monotonic()
    done = act(name)
    return {
        "Id": done.shown,
        f"runtime_{verb}_duration": _us(began),
        "criu_statistics": criu.statistics(done.stats),
    }


def _us(since: float) -> int:
    return int((time.monotonic() - since) * 1e6)
