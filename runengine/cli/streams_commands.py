"""``attach`` and ``exec``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, env_files, run_flags, run_values, terminal
from runengine.cli.command import argument, command
from runengine.cli.flags import arguments, flag

if TYPE_CHECKING:
    from runengine.mgr.engine import Engine
    from runengine.model import ExecConfig

_DETACH_KEYS = "Override the key sequence for detaching a container"


@command(
    "attach",
    usage="[OPTIONS] CONTAINER",
    runs=True,
    latest=True,
    params=[
        flag("--detach-keys", help=_DETACH_KEYS),
        flag("--no-stdin", "bool", help="Do not attach STDIN"),
        flag("--sig-proxy", "bool", help="Proxy received signals to the process", default=True),
    ],
)
@argument("name")
@click.pass_context
def attach(ctx: click.Context, /, **params: Any) -> None:
    """Attach local standard input, output, and error streams to a running container."""
    from runengine.cli.foreground import attach_running
    from runengine.monitor.protocol import AttachOptions

    engine = context.engine(ctx)
    keys = run_flags.detach_keys(params["detach_keys"])
    found = engine.containers.inspect(params["name"])
    tty = found["Config"]["Tty"]
    stdin = found["Config"]["OpenStdin"] and not params["no_stdin"]
    if found["State"]["Running"]:
        terminal.check_tty(attach_stdin=stdin, tty=tty)
    ctx.exit(
        attach_running(
            engine,
            found["Id"],
            AttachOptions(stdin=stdin),
            tty=tty,
            detach_keys=keys,
            sig_proxy=params["sig_proxy"],
        )
    )


@command(
    "exec",
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    runs=True,
    interspersed=False,
    latest=True,
    params=[
        flag("-d --detach", "bool", help="Detached mode: run command in the background"),
        flag("--detach-keys", help=_DETACH_KEYS),
        flag("-e --env", "list", help="Set environment variables"),
        flag("--env-file", "list", help="Read in a file of environment variables"),
        flag("--exec-cpu-affinity", "list", convert=run_values.exec_cpu_affinity,
             help="CPUs to run on (CPUS, initial=CPUS, final=CPUS)"),
        flag("-i --interactive", "bool", help="Keep STDIN open even if not attached"),
        flag("--privileged", "bool", help="Give extended privileges to the command"),
        flag("-t --tty", "bool", help="Allocate a pseudo-TTY"),
        flag("-u --user", help="Username or UID (format: <name|uid>[:<group|gid>])"),
        flag("-w --workdir", help="Working directory inside the container"),
    ],
)
@argument("name")
@argument("command_line", nargs=-1, required=True)
@click.pass_context
def exec_command(ctx: click.Context, /, **params: Any) -> None:
    """Execute a command in a running container."""
    config = _exec_config(params)
    keys = run_flags.detach_keys(params["detach_keys"])
    if not params["detach"]:
        terminal.check_tty(attach_stdin=config["AttachStdin"], tty=config["Tty"])
    engine = context.engine(ctx)
    exec_id = engine.containers.create_exec(params["name"], config)
    if params["detach"]:
        engine.containers.start_exec(exec_id)
    else:
        ctx.exit(exec_attached(engine, exec_id, config, keys))


def _exec_config(params: dict[str, Any]) -> ExecConfig:
    from runengine import model

    config = model.exec_config(arguments(params["command_line"]))
    config["Env"] = env_files.environment(params["env"], params["env_file"])
    config["User"] = params["user"] or ""
    config["WorkingDir"] = params["workdir"] or ""
    config["Tty"] = params["tty"]
    config["Privileged"] = params["privileged"]
    config["DetachKeys"] = params["detach_keys"] or ""
    affinity = run_flags.exec_cpu_affinity(params["exec_cpu_affinity"])
    if affinity:
        config["ExecCPUAffinity"] = affinity
    attached = not params["detach"]
    config["AttachStdin"] = attached and params["interactive"]
    config["AttachStdout"] = config["AttachStderr"] = attached
    return config


def exec_attached(engine: Engine, exec_id: str, config: ExecConfig, keys: bytes) -> int:
    """Run an exec session with our streams; its exit code, or 0 after the detach keys."""
    from runengine.cli import streams
    from runengine.cli.foreground import exit_code
    from runengine.monitor.protocol import AttachOptions

    size = terminal.size() if config["Tty"] else None
    connection = engine.containers.start_exec(
        exec_id, attach=AttachOptions(stdin=config["AttachStdin"]), console_size=size
    )
    if connection is None:
        return 0
    with connection:
        outcome = streams.Relay(
            connection, stdin=config["AttachStdin"], tty=config["Tty"], detach_keys=keys
        ).run(size)
    if outcome.detached:
        return 0
    code = exit_code(outcome.exit, f"the command {config['Cmd'][0]}")
    engine.containers.finish_exec(exec_id, code)
    return code
