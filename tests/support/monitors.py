"""Monitors without an engine: a hand-made busybox bundle, a job, a client that collects."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from runengine.cgroups import layout
from runengine.monitor.client import Connection, Monitor, Started, connect
from runengine.monitor.protocol import AttachOptions, ExecRequest, ExitRecord, Job
from runengine.runtime import runc
from tests.support.waiting import wait_for

TIMEOUT_S = 30.0
APPLETS = [
    *("cat", "echo", "env", "false", "grep", "head", "ls", "seq", "setsid", "sh", "sleep"),
    *("stty", "tr", "true", "tty", "wc", "yes"),
]
ENV = ["PATH=/bin", "TERM=xterm"]
ALL = AttachOptions(stdin=True, stdout=True, stderr=True)
OUTPUT = AttachOptions()


class Output(NamedTuple):
    """What a client saw of a session."""

    out: bytes
    err: bytes
    exit: Any
    """None if the monitor hung up without telling."""


def make_rootfs(directory: Path) -> Path:
    """A busybox, and programs that cannot be executed for various reasons."""
    binaries = directory / "bin"
    for name in ("bin", "proc", "dev", "tmp", "adir"):
        (directory / name).mkdir(parents=True)
    program = shutil.which("busybox")
    assert program
    shutil.copy(program, binaries / "busybox")
    for applet in APPLETS:
        (binaries / applet).symlink_to("busybox")
    for name, content, mode in (
        ("garbage", "no program\n", 0o755),
        ("script", "#!/no/such/interpreter\n", 0o755),
        ("data", "x\n", 0o644),
    ):
        (binaries / name).write_text(content)
        (binaries / name).chmod(mode)
    return directory


class Host:
    """A place where monitors run containers."""

    def __init__(self, directory: Path, rootfs: Path) -> None:
        self.directory = directory
        self.rootfs = rootfs
        self.parent = f"/runengine-test-{os.getpid()}"
        self.monitors: list[Monitor] = []
        self.runtime = [runc.find("runc"), "--root", str(directory / "runc")]
        self._count = 0

    def job(self, *args: str, change: Any = None, **fields: Any) -> Job:
        """A job that runs ``args``; ``change`` edits the spec, ``fields`` the job."""
        self._count += 1
        name = f"c{self._count}"
        home = self.directory / fields.pop("home", "") / name
        for part in ("state", "data", "bundle"):
            (home / part).mkdir(parents=True)
        cgroup = f"{self.parent}/{name}"
        terminal = bool(fields.get("terminal"))
        spec = self._spec(list(args), cgroup, terminal=terminal)
        if change:
            change(spec)
        (home / "bundle" / "config.json").write_text(json.dumps(spec))
        job: Job = {
            "id": name,
            "state_dir": str(home / "state"),
            "data_dir": str(home / "data"),
            "bundle": str(home / "bundle"),
            "runtime": self.runtime,
            "terminal": terminal,
            "console_size": None,
            "open_stdin": False,
            "stdin_once": True,
            "log": {"driver": "none", "path": "", "max_size": 0, "max_file": 1, "attrs": {}},
            "cgroup": layout.cgroup_dirs(cgroup),
            "runtime_dir": None,
            "merged": None,
            "on_exit": None,
            "drain_timeout_s": 10.0,
        }
        job.update(fields)  # type: ignore[typeddict-item]
        return job

    def _spec(self, args: list[str], cgroup: str, *, terminal: bool) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(
            subprocess.run(
                ["sh", "-c", "runc spec --bundle . && cat config.json && rm config.json"],
                cwd=self.directory,
                capture_output=True,
                check=True,
                timeout=TIMEOUT_S,
            ).stdout
        )
        spec["process"].update(args=args, terminal=terminal, env=ENV)
        spec["root"] = {"path": str(self.rootfs), "readonly": True}
        spec["linux"]["cgroupsPath"] = cgroup
        return spec

    def spawn(self) -> Monitor:
        """A monitor that is let go of at the end of the test."""
        monitor = Monitor.spawn()
        self.monitors.append(monitor)
        return monitor

    def run(self, job: Job, attach: AttachOptions | None = OUTPUT) -> tuple[Monitor, Started]:
        """Start a container."""
        monitor = self.spawn()
        return monitor, monitor.run(job, attach)

    def detached(self, job: Job) -> Started:
        """Start a container and let go of its monitor."""
        monitor, started = self.run(job, None)
        monitor.close()
        return started

    def finished(self, job: Job) -> Output:
        """Run to the end, attached, and take the teardown over."""
        monitor, started = self.run(job)
        assert started.connection
        output = collect(started.connection)
        assert monitor.take_over()
        return output

    def leftovers(self, job: Job) -> list[str]:
        """What is still there of a container: state, cgroups, files of a start."""
        state = {"monitor.lock", "init.json", "exit.json"}
        found = [name for name in os.listdir(job["state_dir"]) if name not in state]
        found += [path for path in job["cgroup"].values() if Path(path).exists()]
        runtime = self.directory / "runc" / job["id"]
        return found + ([str(runtime)] if runtime.exists() else [])

    def close(self) -> None:
        """End every monitor and its container; remove the cgroups above them."""
        # Every hierarchy: on a hybrid host runc makes one in cgroup2's as well.
        hierarchies = [Path(layout.ROOT), *Path(layout.ROOT).iterdir()]
        folders = [f"{path}{self.parent}" for path in hierarchies]
        for folder in folders:
            for pid in layout.procs({"unified": folder}):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for monitor in self.monitors:
            monitor.close()
            wait_for(lambda pid=monitor.pid: has_ended(pid))
        for folder in folders:
            layout.remove({"unified": folder})


def has_ended(pid: int) -> bool:
    """Whether our child has ended; collects it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def collect(connection: Connection, timeout_s: float = TIMEOUT_S) -> Output:
    """Everything until the exit event or the end."""
    streams = {1: bytearray(), 2: bytearray()}
    while True:
        frame = connection.read_frame(timeout_s)
        if frame is None or (frame.event and frame.event["event"] == "exit"):
            return Output(bytes(streams[1]), bytes(streams[2]), connection.exit)
        if frame.event is None:
            streams[frame.stream] += frame.data


def read_until(connection: Connection, text: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """Output up to and with the frame in which ``text`` is complete."""
    seen = b""
    while text not in seen:
        frame = connection.read_frame(timeout_s)
        assert frame, f"ended before {text!r}: {seen!r}"
        seen += frame.data
    return seen


def reach(job: Job) -> Connection:
    """A fresh connection to a running container's monitor."""
    connection = connect(job["state_dir"])
    assert connection
    return connection


def wait_exit(job: Job, *, kill_pid: int | None = None) -> ExitRecord:
    """Wait for a container that has a monitor, or end it."""
    with reach(job) as connection:
        if kill_pid is not None:
            os.kill(kill_pid, signal.SIGKILL)
        record = connection.wait(TIMEOUT_S)
    assert record
    return record


def start_with_a_killer(host: Host, job: Job, delay_s: float) -> Started:
    """Start a container whose runtime is killed so long after it began, if it still runs then."""
    monitor = host.spawn()
    wait_for(lambda: "runengine-mon" in Path(f"/proc/{monitor.pid}/comm").read_text())
    pid = os.fork()
    if pid == 0:
        _kill_runtime(monitor.pid, delay_s)
    try:
        return monitor.run(job)
    finally:
        os.waitpid(pid, 0)


def _kill_runtime(parent: int, delay_s: float) -> None:
    """Kill the monitor's first child, unless that is the container already."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children")
        wait_for(lambda: children.read_text())
        time.sleep(delay_s)
        child = int(children.read_text().split()[0])
        if Path(f"/proc/{child}/comm").read_text() == "runc\n":
            os.kill(child, signal.SIGKILL)
    finally:
        os._exit(0)


def exec_request(exec_id: str, *args: str, **fields: Any) -> ExecRequest:
    """A request to run ``args``, with its output attached."""
    process = {
        "args": list(args),
        "cwd": fields.pop("cwd", "/"),
        "env": ENV,
        "user": {"uid": 0, "gid": 0},
        "terminal": fields.pop("terminal", False),
    }
    request: ExecRequest = {
        "exec_id": exec_id,
        "process": process,
        "stdin": False,
        "stdout": True,
        "stderr": True,
    }
    request.update(fields)  # type: ignore[typeddict-item]
    return request


def exec_output(job: Job, exec_id: str, *args: str, stdin: bytes = b"", **fields: Any) -> Output:
    """Run a process inside to its end."""
    with reach(job) as connection:
        connection.exec(exec_request(exec_id, *args, stdin=bool(stdin), **fields))
        if stdin:
            connection.send_stdin(stdin)
            connection.close_stdin()
        return collect(connection)
