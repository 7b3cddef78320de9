"""``generate systemd``: a unit for one container."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import click

from runengine import paths
from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter, Unavailable, Unsupported

if TYPE_CHECKING:
    from runengine.mgr.systemd_unit import UnitOptions

PROGRAM = "/usr/local/bin/runengine"
DEFAULT_STOP_TIMEOUT_S = 10
_BY_HAND = 'write a unit with "runengine run --rm" in it: see docs/service.md'


@command(
    "systemd",
    usage="[OPTIONS] CONTAINER",
    params=[
        flag("-n --name", "bool", help="Use the container's name instead of its ID"),
        flag("-f --files", "bool", help="Write the unit to a file here instead of printing it"),
        flag("--new", "bool", hidden=True),
        flag("--restart-policy", help="When systemd starts it again", default="on-failure"),
        flag("--restart-sec", "int", help="Seconds to wait before that"),
        flag("-t --time --stop-timeout", "int", help="Seconds that the container has to stop"),
        flag("--start-timeout", "int", help="Seconds that the start may take"),
        flag("--container-prefix", help="How the unit's name begins", default="container"),
        flag("--separator", help="What follows in the unit's name", default="-"),
        flag("--after", "list", help="Start after this unit"),
        flag("--requires", "list", help="Start this unit too, and stop with it"),
        flag("--wants", "list", help="Start this unit too"),
    ],
)
@argument("name_or_id")
@click.pass_context
def systemd(ctx: click.Context, /, **params: Any) -> None:
    """Generate a systemd unit that supervises a container.

    The unit runs the container in the foreground of the service manager: its end is the unit's
    end, its exit code the unit's, its output goes to the journal. Install it with:
    runengine generate systemd --name web > /etc/systemd/system/container-web.service
    systemctl daemon-reload && systemctl enable --now container-web
    """
    from runengine.mgr.systemd_unit import container_unit

    if params["new"]:
        raise Unsupported(
            "--new is not supported: the command line that made a container is not recorded",
            resolution=_BY_HAND,
        )
    found = context.engine(ctx).containers.inspect(params["name_or_id"])
    _check(found)
    options = _options(context.app_of(ctx).paths(), found, params)
    text = container_unit(options)
    if params["files"]:
        context.write(f"{_write(options.unit, text)}\n")
    else:
        context.write(text)


def _check(found: dict[str, Any]) -> None:
    name = found["Name"].lstrip("/")
    if found["HostConfig"]["AutoRemove"]:
        raise Unsupported(
            f"container {name} is removed when it ends (--rm): a unit could start it only once",
            resolution=f"make it without --rm, or {_BY_HAND}",
        )
    policy = found["HostConfig"]["RestartPolicy"]["Name"]
    if policy not in ("", "no"):
        context.warn(
            f"container {name} has the restart policy {policy}: runengine would start it again"
            f" beside systemd (run: runengine update --restart no {name})"
        )


def _options(
    where: paths.Paths, found: dict[str, Any], params: dict[str, Any]
) -> UnitOptions:
    from runengine.mgr import systemd_unit

    container = found["Name"].lstrip("/") if params["name"] else found["Id"]
    own_timeout_s = found["Config"].get("StopTimeout")
    given_s = params["time"]
    own_s = DEFAULT_STOP_TIMEOUT_S if own_timeout_s is None else own_timeout_s
    return systemd_unit.UnitOptions(
        unit=systemd_unit.unit_name(params["container_prefix"], params["separator"], container),
        container=container,
        program=[_program(), *_roots(where)],
        root=where.root,
        environment=_environment(),
        stop_signal=_stop_signal(found),
        stop_timeout_s=own_s if given_s is None else given_s,
        stop_option=given_s is not None,
        restart_policy=systemd_unit.check_restart_policy(params["restart_policy"]),
        restart_delay_s=_seconds("--restart-sec", params["restart_sec"]),
        start_timeout_s=_seconds("--start-timeout", params["start_timeout"]),
        **{key: _units(key, params[key]) for key in ("after", "requires", "wants")},
    )


def _stop_signal(found: dict[str, Any]) -> int:
    from runengine.mgr.container import signals

    return signals.parse_signal(found["Config"]["StopSignal"] or "TERM")


def _seconds(option: str, value: int | None) -> int | None:
    from runengine.mgr.systemd_unit import LONGEST_S

    if value is not None and value < 0:
        raise InvalidParameter(f"invalid {option} {value}: it cannot be negative")
    if value is not None and value > LONGEST_S:
        raise InvalidParameter(f"invalid {option} {value}: systemd does not count so far")
    return value


def _units(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    from runengine.mgr.systemd_unit import check_unit_name

    return tuple(check_unit_name(f"--{key}", name) for name in names)


def _program() -> str:
    """The command that the caller would run, by its full path, as systemd wants it."""
    found = shutil.which("runengine")
    return PROGRAM if found is None else os.path.abspath(found)  # noqa: PTH100


def _roots(where: paths.Paths) -> list[str]:
    given = []
    if where.root != paths.DEFAULT_ROOT:
        given += ["--root", where.root]
    if where.state != paths.DEFAULT_STATE:
        given += ["--state", where.state]
    return given


def _environment() -> dict[str, str]:
    name = "RUNENGINE_CONFIG"
    return {name: os.environ[name]} if os.environ.get(name) else {}


def _write(name: str, text: str) -> str:
    """Write the unit into the working directory; its path. Raises Unavailable."""
    from runengine.linux import fsatomic

    path = os.path.join(os.getcwd(), name)  # noqa: PTH109, PTH118
    try:
        fsatomic.replace(path, text.encode(), mode=0o644)
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from None
    return path
