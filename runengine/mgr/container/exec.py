"""``exec``: further processes in a running container, under all of its protections."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from runengine import ids
from runengine.errors import Conflict, EngineError, InvalidParameter, StateError
from runengine.mgr.container import pending
from runengine.store.execs import ExecRecord, ExecState

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.model import ExecConfig, ExecCpuAffinity
    from runengine.monitor.client import Connection
    from runengine.monitor.protocol import AttachOptions, ExecRequest
    from runengine.store.containers import Record

FINISHED_KEPT = 32
"""Finished exec records kept per container for those who come to inspect them."""
FAILED = 126


def create_exec(context: Context, name: str, config: ExecConfig) -> str:
    """Record an exec in a running container; returns its id.

    Raises InvalidParameter without a command, Conflict unless the container is running.
    """
    if not config["Cmd"]:
        raise InvalidParameter("No exec command specified")
    record = _running(context, context.resolve(name))
    _sweep(context, record.id)
    began_ns = time.monotonic_ns()
    exec_id = ids.new_id()
    state: ExecState = {"Status": "created", "Pid": 0, "ExitCode": None, "Error": ""}
    context.store.execs.add(ExecRecord(exec_id, record.id, config, state))
    action = f"exec_create: {' '.join(config['Cmd'])}"
    context.events.container(action, record, began_ns=began_ns, execID=exec_id)
    return exec_id


def _running(context: Context, container_id: str) -> Record:
    record = context.store.containers.get(container_id)
    status = pending.look(context, record)
    pending.refuse_restarting(record, status)
    if status["Status"] == "paused":
        raise Conflict(
            f"container {record.name} is paused", resolution="unpause the container before exec"
        )
    if status["Status"] != "running":
        raise Conflict(f"container {record.name} is not running")
    return record._replace(state=status)


def _sweep(context: Context, container_id: str) -> None:
    """Keep the table small: the oldest finished ones go."""
    finished = [
        one for one in context.store.execs.of(container_id) if one.state["Status"] == "exited"
    ]
    for one in finished[: max(0, len(finished) - FINISHED_KEPT + 1)]:
        context.store.execs.remove(one.id)


def start_exec(
    context: Context,
    exec_id: str,
    *,
    attach: AttachOptions | None = None,
    console_size: tuple[int, int] | None = None,
) -> Connection | None:
    """Start a recorded exec, once. With ``attach`` the connection carries its streams.

    Raises Conflict (started before, container not running), CommandNotFound,
    CommandNotExecutable, InvalidParameter (no such user), RuntimeFailed.
    """
    began_ns = time.monotonic_ns()
    found = context.store.execs.get(exec_id)
    record = _running(context, found.container_id)
    if not context.store.execs.claim(found.id):
        raise Conflict(f"exec {found.id[:12]} has already run")
    try:
        process = _process(context, record, found.config)
        request = _request(found, process, attach, console_size)
        request["began_ns"] = began_ns
        wanted = found.config.get("ExecCPUAffinity")
        if wanted:
            _place(context, record, wanted, request)
        connection, pid = _exec(context, record, request)
    except EngineError as error:
        code = error.exit_code if error.exit_code in (126, 127) else FAILED
        _write(context, found.id, "exited", code=code, error=str(error))
        raise
    _write(context, found.id, "running", pid=pid)
    if wanted or record.host_config.get("ExecCPUAffinity"):
        _verify(context, record, wanted, pid)
    if attach is None:
        connection.close()
        return None
    return connection


def _place(
    context: Context, record: Record, wanted: ExecCpuAffinity, request: ExecRequest
) -> None:
    """Let it run on CPUs of its own and not on the container's. Raises as ``affinity`` does."""
    from runengine.cgroups import machine
    from runengine.mgr.container import affinity

    affinity.check(wanted, record.host_config, machine.probe())
    decision = affinity.decide_for(context, wanted, record.host_config["Runtime"])
    request["cpus"] = decision.cpus
    request["process"].pop("execCPUAffinity", None)
    if decision.section:
        request["process"]["execCPUAffinity"] = decision.section


def _verify(
    context: Context, record: Record, wanted: ExecCpuAffinity | None, pid: int
) -> None:
    from runengine.mgr.container import affinity

    told = affinity.deviation(pid, wanted or record.host_config["ExecCPUAffinity"])
    if told:
        context.notices.append(f"container {record.name}: {told}")


def _exec(context: Context, record: Record, request: ExecRequest) -> tuple[Connection, int]:
    connection = _connect(context, record)
    try:
        return connection, connection.exec(request)
    except BaseException:
        connection.close()
        raise


def _request(
    found: ExecRecord,
    process: dict[str, Any],
    attach: AttachOptions | None,
    console_size: tuple[int, int] | None,
) -> ExecRequest:
    return {
        "exec_id": found.id,
        "process": process,
        "detach": attach is None,
        "stdin": attach is not None and attach.stdin,
        "stdout": attach is not None and attach.stdout,
        "stderr": attach is not None and attach.stderr,
        "console_size": list(console_size) if console_size else None,
    }


def _connect(context: Context, record: Record) -> Connection:
    from runengine.monitor import client

    connection = client.connect(context.state_dir(record.id))
    if connection is None:
        raise Conflict(
            f"container {record.name} runs without its monitor, which was killed: no exec",
            resolution="restart the container",
        )
    return connection


def _process(context: Context, record: Record, config: ExecConfig) -> dict[str, Any]:
    from runengine.linux import kernel
    from runengine.mgr.container.facts import find_user
    from runengine.oci_spec.exec import build_process

    path = f"{context.state_dir(record.id)}/bundle/config.json"
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        dict(spec["process"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"cannot read the container's spec {path}: {error!r}",
            resolution="restart the container, which writes it anew",
        ) from None
    root = f"/proc/{record.state['Pid']}/root"
    name = config["User"] or record.config["User"]
    user = find_user(root, name, record.host_config["GroupAdd"])
    return build_process(spec, config, user, kernel.probe())


def _write(
    context: Context,
    exec_id: str,
    status: str,
    *,
    pid: int = 0,
    code: int | None = None,
    error: str = "",
) -> None:
    context.store.execs.set_state(
        exec_id, {"Status": status, "Pid": pid, "ExitCode": code, "Error": error}
    )


def finish_exec(context: Context, exec_id: str, exit_code: int | None) -> None:
    """Note how an attached exec ended."""
    _write(context, exec_id, "exited", code=exit_code)


def inspect_exec(context: Context, exec_id: str) -> dict[str, Any]:
    """Docker's ``/exec/{id}/json``. Raises NotFound."""
    found = context.store.execs.get(exec_id)
    state = _observe(context, found)
    config = found.config
    return {
        "ID": found.id,
        "ContainerID": found.container_id,
        "Running": state["Status"] == "running",
        "ExitCode": 0 if state["Status"] == "created" else state["ExitCode"],
        "Pid": state["Pid"],
        "Error": state["Error"],
        "CanRemove": state["Status"] == "exited",
        "DetachKeys": config["DetachKeys"],
        "OpenStdin": config["AttachStdin"],
        "OpenStdout": config["AttachStdout"],
        "OpenStderr": config["AttachStderr"],
        "ProcessConfig": {
            "entrypoint": config["Cmd"][0],
            "arguments": config["Cmd"][1:],
            "tty": config["Tty"],
            "user": config["User"],
            "privileged": config["Privileged"],
        },
    }


def _observe(context: Context, found: ExecRecord) -> ExecState:
    """The exec's state now: a detached one that ended is known to the monitor alone."""
    if found.state["Status"] != "running" or os.path.exists(f"/proc/{found.state['Pid']}"):
        return found.state
    from runengine.monitor import client

    connection = client.connect(context.state_dir(found.container_id))
    code: int | None = None
    if connection is not None:
        with connection:
            code = connection.status().get("execs", {}).get(found.id, {}).get("exit_code")
    finish_exec(context, found.id, code)
    return context.store.execs.get(found.id).state


def resize_exec(context: Context, exec_id: str, rows: int, columns: int) -> None:
    """Set the size of the exec's terminal. Raises NotFound, Conflict."""
    found = context.store.execs.get(exec_id)
    record = _running(context, found.container_id)
    with _connect(context, record) as connection:
        connection.resize_once(rows, columns, exec_id=found.id)
