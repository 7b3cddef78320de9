"""``start``: root filesystem, spec, bundle, monitor, runtime; all of it, or none of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from runengine.errors import (
    Conflict,
    EngineError,
    NotModified,
    RuntimeFailed,
    TimedOut,
    Unavailable,
)
from runengine.linux import clock
from runengine.mgr.container import observe, pending, policy, shown, volumes
from runengine.mgr.container.context import make_private_directory
from runengine.mgr.container.recover import settle, tear_down, wait_for_monitor
from runengine.mgr.container.runtime import abilities_of, argv_of
from runengine.mgr.network.modes import CONTAINER, has_networks
from runengine.store.containers import Restarts

if TYPE_CHECKING:
    from runengine.mgr.container.checkpoint_restore import Revival, Wanted
    from runengine.mgr.container.context import Context
    from runengine.mgr.container.userns import UserNamespace
    from runengine.mgr.network.sandbox import Sandbox
    from runengine.monitor.client import Connection, Monitor, Started
    from runengine.monitor.protocol import AttachOptions, HealthSpec, Job, Restart
    from runengine.store.containers import Record

DRAIN_TIMEOUT_S = 10.0
START_FAILED = 128
START_BYTES = 64 << 10
"""Room that a start takes in each of the engine's directories, roughly; a failed one frees it."""

_LIMITS = {
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ENFILE: "raise the host's limit on open files: sysctl fs.file-max",
    errno.EAGAIN: "raise the limit on processes: ulimit -u, pids.max of this cgroup",
    errno.ENOMEM: "free some memory, or raise the limit of this cgroup",
}


def start(
    context: Context,
    name: str,
    *,
    attach: AttachOptions | None = None,
    console_size: tuple[int, int] | None = None,
    monitor: Monitor | None = None,
    checkpoint: Wanted | None = None,
) -> Connection | None:
    """Start a container; with ``attach`` its streams are on the connection from the first byte.

    ``monitor`` is one that was spawned ahead; with ``checkpoint`` the processes in there go on.
    Raises NotModified if it runs, Conflict if it is paused, CommandNotFound, CommandNotExecutable,
    RuntimeFailed and whatever ``facts`` raises.
    """
    with context.locked(context.resolve(name)) as record:
        state = settle(context, record)
        if state["Status"] == "paused":
            raise Conflict("cannot start a paused container, try unpause instead")
        kept = _checkpoint(context, record, checkpoint)
        wanted = want_running(context, record, anew=not observe.is_live(state))
        if observe.is_live(state):
            raise NotModified(f"Container {record.name} is already running")
        if attach is not None and record.details["log"]["driver"] == "passthrough":
            from runengine.mgr import plain_logs

            plain_logs.refuse_attach(record.name, attach)
        pending.cancel(context, record.id)
        return start_settled(
            context,
            wanted._replace(state=state),
            attach=attach,
            console_size=console_size,
            monitor=monitor,
            kept=kept,
        )


def _checkpoint(context: Context, record: Record, wanted: Wanted | None) -> Revival | None:
    if wanted is None:
        return None
    from runengine.mgr.container import checkpoint_restore

    return checkpoint_restore.find(context, record, wanted)


def want_running(context: Context, record: Record, *, anew: bool) -> Record:
    """Note that the user wants it to run; ``anew``: the restarts are counted from here.

    With a policy that is written before anything is done. Without one it matters to nobody yet,
    and is written together with the start.
    """
    restarts = Restarts() if anew else record.restarts
    wanted = record._replace(desired=policy.RUNNING, restarts=restarts)
    if wanted != record and not policy.is_none(record.host_config["RestartPolicy"]):
        context.store.containers.set_desired(record.id, policy.RUNNING, restarts)
    return wanted


def start_settled(
    context: Context,
    record: Record,
    *,
    attach: AttachOptions | None = None,
    console_size: tuple[int, int] | None = None,
    monitor: Monitor | None = None,
    kept: Revival | None = None,
) -> Connection | None:
    """Start a container that does not run and whose lock is held; ``kept``: by a checkpoint."""
    began_ns = time.monotonic_ns()
    monitor = monitor or spawn_monitor()
    sandbox: Sandbox | None = None
    owner: UserNamespace | None = None
    try:
        owner = _user_namespace(context, record)
        sandbox = _connect(context, record, owner, kept)
        spec = _prepare(context, record, sandbox, owner, kept)
        job = _job(context, record, console_size)
        job["runtime_dir"] = _runtime_dir(context, job, spec)
        job["health"] = _health(context, record, spec)
        job["events"] = context.events.for_job(record, began_ns)
        if kept is not None:
            job["checkpoint"] = kept.job(context, record, sandbox.endpoints if sandbox else ())
        started = monitor.run(job, attach)
    except BaseException as error:
        monitor.abandon()
        failure = _explained(context, record, error, kept)
        _undo(context, record, failure)
        if failure is not error:
            raise failure from error
        raise
    finally:
        if sandbox is not None:
            sandbox.close()
        if owner is not None:
            owner.close()
    _note_started(context, record, started)
    if kept is not None:
        kept.done(context, record, began_ns)
    if job.get("pinned") or record.host_config["CpusetMems"]:
        from runengine.mgr.container import placement

        context.notices.extend(
            placement.check(record, started.pid, spec["linux"].get("memoryPolicy"))
        )
    if started.connection is None:
        monitor.close()
    return started.connection


def spawn_monitor() -> Monitor:
    """A monitor process that boots while the engine prepares. Raises Unavailable."""
    from runengine.monitor.client import Monitor

    try:
        return Monitor.spawn()
    except OSError as error:
        raise Unavailable(f"cannot start a monitor process: {error}") from None


def _note_started(context: Context, record: Record, started: Started) -> None:
    state = observe.started(
        record.state, started.pid, started.start_time, clock.now()
    )
    context.store.containers.set_started(record._replace(state=state))


def _explained(
    context: Context, record: Record, error: BaseException, kept: Revival | None = None
) -> BaseException:
    """The error for operators: the system's own says nothing of the container."""
    if isinstance(error, OSError):
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return _no_start(context, record, str(reason), number=error.errno)
    if isinstance(error, RuntimeFailed):
        # Without room it cannot even say so: its words are of something else, or none.
        for directory in (context.paths.state, context.paths.root):
            if _is_full(directory):
                reason = f"{directory}: {os.strerror(errno.ENOSPC)}"
                return _no_start(context, record, reason, details=str(error))
        if kept is not None:
            return kept.explained(context, record, error)
        from runengine.mgr.container import own_profile

        return own_profile.explained(record, error)
    return error


def _no_start(
    context: Context,
    record: Record,
    reason: str,
    *,
    details: str | None = None,
    number: int | None = errno.ENOSPC,
) -> Unavailable:
    hint = f"see whether {context.paths.state} and {context.paths.root} have room"
    return Unavailable(
        f"cannot start container {record.name}: {reason}",
        details=details,
        resolution=_LIMITS.get(number or 0, hint),
    )


def _is_full(directory: str) -> bool:
    system = os.statvfs(directory)
    return system.f_blocks > 0 and system.f_bavail * system.f_frsize < START_BYTES


def _undo(context: Context, record: Record, error: BaseException) -> None:
    """Leave the container as one that did not start, with the reason and Docker's code."""
    with contextlib.suppress(TimedOut):
        wait_for_monitor(context, record.id)
        tear_down(context, record)
    if isinstance(error, EngineError):
        code = error.exit_code if error.exit_code in (126, 127) else START_FAILED
        state: Any = {**record.state, "ExitCode": code, "Error": str(error)}
        context.store.containers.set_state(record.id, state)


def _user_namespace(context: Context, record: Record) -> UserNamespace | None:
    """The user namespace that the container gets, if it is not the host's."""
    if "userns" not in record.details:
        return None
    from runengine.mgr.container import userns

    return userns.make(context, record)


def _connect(
    context: Context, record: Record, owner: UserNamespace | None, kept: Revival | None
) -> Sandbox | None:
    """The network namespace that the container gets, unless the runtime makes it an empty one."""
    mode = record.host_config["NetworkMode"]
    kind, _, name = mode.partition(":")
    if kind != CONTAINER and not has_networks(mode):
        return None
    from runengine.mgr.network import sandbox

    if kind != CONTAINER:
        former = kept.checkpoint.note.addresses if kept is not None else ()
        return sandbox.set_up(context, record, owner.network_fd if owner else None, former)
    return sandbox.of_state(name, observe.live_state(context, record, name, "network"))


def _prepare(
    context: Context,
    record: Record,
    sandbox: Sandbox | None,
    owner: UserNamespace | None,
    kept: Revival | None,
) -> dict[str, Any]:
    """Everything on disk that the runtime needs: mounts, files, the bundle; its spec."""
    from runengine.mgr.container import facts, network_files
    from runengine.oci_spec.build import build_spec

    state_dir, data_dir = context.state_dir(record.id), context.data_dir(record.id)
    make_private_directory(f"{state_dir}/bundle")
    make_private_directory(context.paths.runtime_root)
    _forget_last_exit(context, record)
    mount_rootfs(context, record, owner)
    if record.host_config["IpcMode"] == "shareable":
        size_bytes = record.host_config["ShmSize"]
        _mount_shm(facts.shm_dir(context, record.id), size_bytes, _mount_label(record))
    if record.host_config["CpuRealtimeRuntime"]:
        from runengine.mgr.container import realtime

        realtime.make_room(record)
    known = facts.gather(context, record, f"{data_dir}/merged", data_dir, sandbox=sandbox)
    if "selinux" in record.details:
        from runengine.mgr.container import labels

        labels.apply(record, known)
    if "quota" in record.details:
        from runengine.mgr.container import disk_quota

        disk_quota.claim_volumes(record, known.mounts)
    if owner is not None:
        owner.enter(known, path_alone=abilities_of(context, record).mapped_mounts)
    context.events.mounted(record)
    if sandbox is not None:
        network_files.tell_linked(context, record, sandbox.endpoints)
    spec = build_spec(record.config, record.host_config, known)
    if kept is not None:
        kept.follow_links(spec)
    write_spec(f"{state_dir}/bundle", spec)
    given = {"network_files": known.network_files, "hooks": spec.get("hooks")}
    if any(record.details.get(key) != value for key, value in given.items()):
        context.store.containers.set_details(record.id, {**record.details, **given})
    if sandbox is not None:
        _tell_neighbours(context, sandbox)
    return spec


def _tell_neighbours(context: Context, sandbox: Sandbox) -> None:
    """Where names are in the files of containers, this one has its own only now."""
    wanted = [one.network_id for one in sandbox.endpoints if one.driver != "bridge"]
    if wanted:
        context.networks.refresh_names(wanted)


def _forget_last_exit(context: Context, record: Record) -> None:
    for path in observe.exit_paths(context, record.id):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def mount_rootfs(context: Context, record: Record, owner: UserNamespace | None = None) -> str:
    """Mount the container's root filesystem; returns where.

    Without ``owner`` files have the owners that the container sees, in a user namespace too.
    """
    from runengine.rootfs.overlay import mount_overlay

    data_dir = context.data_dir(record.id)
    lowers = context.images.layer_paths(record.layers)
    merged = f"{data_dir}/merged"
    label = _mount_label(record)
    if owner is not None:
        owner.mount_root(lowers[::-1], data_dir, merged, label)
    elif not shown.share(data_dir, merged):
        upper, work = f"{data_dir}/upper", f"{data_dir}/work"
        mount_overlay(lowers[::-1], upper, work, merged, label=label)
    return merged


def _mount_label(record: Record) -> str:
    """What SELinux takes files for that only this container may use; empty without SELinux."""
    label: str = record.details.get("selinux", {}).get("mount", "")
    return label


def _mount_shm(target: str, size_bytes: int, label: str) -> None:
    from runengine.linux import libc, mount

    os.makedirs(target, mode=0o755, exist_ok=True)
    options = f"mode=1777,size={size_bytes or 64 << 20}"
    if label:
        options += f',context="{label}"'
    libc.mount("shm", target, "tmpfs", mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC, options)


def write_spec(bundle: str, spec: dict[str, Any]) -> None:
    """Write config.json; it goes with the run, so nothing is synced."""
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        file.write(json.dumps(spec))  # dump() would encode in Python, piece by piece


def _job(context: Context, record: Record, console_size: tuple[int, int] | None) -> Job:
    config = record.config
    state_dir = context.state_dir(record.id)
    return {
        "id": record.id,
        "state_dir": state_dir,
        "data_dir": context.data_dir(record.id),
        "bundle": f"{state_dir}/bundle",
        "runtime": argv_of(context, record),
        "terminal": config["Tty"],
        "console_size": list(console_size) if console_size else None,
        "open_stdin": config["OpenStdin"],
        "stdin_once": config["StdinOnce"],
        "log": record.details["log"],
        "cgroup": record.details["cgroup"],
        "runtime_dir": None,
        "merged": f"{context.data_dir(record.id)}/merged",
        "pinned": _pinned(record),
        "exec_cpus": _exec_cpus(context, record),
        "on_exit": on_exit(context, record),
        "drain_timeout_s": DRAIN_TIMEOUT_S,
        "restart": restart_job(record),
    }


def _pinned(record: Record) -> list[int]:
    if not record.host_config["CpusetCpus"]:
        return []
    from runengine.mgr.container import placement

    return placement.cpus_of(record.host_config)


def _exec_cpus(context: Context, record: Record) -> list[int] | None:
    wanted = record.host_config.get("ExecCPUAffinity")
    if not wanted:
        return None
    from runengine.mgr.container import affinity

    return affinity.decide_for(context, wanted, record.host_config["Runtime"]).cpus


def _runtime_dir(context: Context, job: Job, spec: dict[str, Any]) -> str | None:
    """runc's state of the container; without hooks its ``delete`` does no more than remove that.

    Source: runc's libcontainer/state_linux.go, destroy.
    """
    is_runc = os.path.basename(job["runtime"][0]) == "runc"
    has_unit = job["runtime"][-1] == "--systemd-cgroup"
    if not is_runc or has_unit or "hooks" in spec or "intelRdt" in spec["linux"]:
        return None
    return f"{context.paths.runtime_root}/{job['id']}"


def restart_job(record: Record) -> Restart | None:
    """What the monitor must know of the restart policy; None if no exit can lead to a restart."""
    wanted = record.host_config["RestartPolicy"]
    if policy.is_spent(wanted, record.restarts):
        return None
    return {
        "delay_s": policy.next_delay_s(record.restarts),
        "only_failure": wanted["Name"] == policy.ON_FAILURE,
    }


def _health(context: Context, record: Record, spec: dict[str, Any]) -> HealthSpec | None:
    if record.config["Healthcheck"] is None:
        return None
    from runengine.mgr.container import health

    return health.prepare(context, record, spec)


def on_exit(context: Context, record: Record) -> list[str] | None:
    """What is left to do after an exit beyond the monitor's own part: nothing, mostly.

    The next command that looks at the container writes the exit down; only what must happen
    without one needs a command of its own.
    """
    host = record.host_config
    restarts = not policy.is_none(host["RestartPolicy"])
    connected = has_networks(host["NetworkMode"])  # its address and ports are for others then
    shares = host["IpcMode"] == "shareable"
    mounts = volumes.must_let_go(context, record)
    if not (host["AutoRemove"] or shares or restarts or connected or mounts):
        return None
    return engine_command(context, "container", "cleanup", record.id)


def engine_command(context: Context, *arguments: str) -> list[str]:
    """Command line that runs this engine, whatever the caller's directory and environment.

    The configuration file is this one's, as a restart by policy must not lose the host's hooks.
    """
    package_parent = os.path.dirname(os.path.dirname(sys.modules["runengine"].__file__ or ""))
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    boot = (
        f"import sys; sys.path[:0] = {[package_parent]!r}; sys.path += {libraries!r};"
        " sys.argv[0] = 'runengine'; from runengine.front import main; main()"
    )
    named = os.environ.get("RUNENGINE_CONFIG")
    if named:
        variable = f"os.environ['RUNENGINE_CONFIG'] = {os.path.abspath(named)!r}"
        boot = f"import os; {variable}; {boot}"
    roots = ["--root", context.paths.root, "--state", context.paths.state]
    # Without the site module, which looks through every library folder for 10 ms.
    return [sys.executable, "-I", "-S", "-c", boot, *roots, *arguments]
