"""One container from the runtime's start to its teardown, and who asks about it meanwhile."""

from __future__ import annotations

import os
import time

from runengine.linux import clock, fsatomic
from runengine.monitor import cgroup, ending, journal, wire
from runengine.monitor.execs import Execs
from runengine.monitor.loop import UNSTARTED, stat_fields
from runengine.monitor.memory import MemoryWatch
from runengine.monitor.peer import Peer
from runengine.monitor.programs import cpus_of_init
from runengine.monitor.server import Server
from runengine.monitor.starting import Plan, Starting
from runengine.runtime import argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
    from typing import Any

    from runengine.monitor.health import Health
    from runengine.monitor.loop import Loop
    from runengine.monitor.pending import Pending
    from runengine.monitor.programs import Programs
    from runengine.monitor.protocol import Job
    from runengine.monitor.session import Log
    from runengine.monitor.starting import Process
    from runengine.runtime.messages import Failure
else:
    import _signal as signal

PASSTHROUGH = "passthrough"
"""The log driver of a container that writes to its log itself."""
STARTING, RUNNING, ENDING, ENDED = "starting", "running", "ending", "ended"
CHANGEABLE = frozenset(("events", "on_exit", "pinned", "restart"))
"""Keys of the job that are looked at only when something happens, so that they may change."""


class Container:
    """The monitor's state; everything happens in the loop's callbacks."""

    def __init__(
        self,
        loop: Loop,
        programs: Programs,
        job: Job,
        lock_fd: int,
        control: Peer,
        request: dict[str, Any],
    ) -> None:
        self.loop = loop
        self.programs = programs
        self.job = job
        self.control = control
        self.peers: set[Peer] = {control}
        self.waiters: list[Peer] = []
        self.execs = Execs(loop, programs, job)
        self.health: Health | None = None
        self.memory: MemoryWatch | None = None
        self.process: Process | None = None
        self.exit: dict[str, Any] | None = None
        self.phase = STARTING
        self.teardown_begun = False
        self.teardown_waits = False
        """For somebody who has the container's lock."""
        self.pending: Pending | None = None
        self._starting: Starting | None = None
        self._given_up = False
        self._began = 0.0
        self._attach: dict[str, Any] | None = request.get("attach")
        self._server = Server(loop, job["state_dir"], lock_fd, self._on_connect)
        self._log: Log | None = None

    # Start

    def start(self) -> None:
        """Open the log and the socket, and let the runtime begin."""
        try:
            self._open_log()
            cgroup.leave_session(self.job["cgroup"])
            self._server.listen()
            self._starting = Starting(self.loop, self.programs, self._plan(), self._started)
            self._starting.begin()
        except OSError as error:
            self._server.close()
            self._refuse("RuntimeFailed", self._cannot_start(error))

    def _cannot_start(self, error: OSError) -> str:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return f"cannot start container {self.job['id'][:12]}: {reason}"

    def _open_log(self) -> None:
        if self.job["log"]["driver"] not in ("none", PASSTHROUGH):
            from runengine.monitor.logs import open_log

            self._log = open_log(self.job["log"])

    def _plan(self) -> Plan:
        job = self.job

        def build(log: str, pid_file: str, console: str | None) -> list[str]:
            base = argv.with_log(job["runtime"], log)
            kept = job.get("checkpoint")
            if kept:
                return argv.restore(base, job["id"], job["bundle"], pid_file=pid_file, **kept)
            return argv.run(base, job["id"], job["bundle"], pid_file=pid_file, console=console)

        log = job["log"]
        return Plan(
            "start",
            job["state_dir"],
            build,
            output=log["path"] if log["driver"] == PASSTHROUGH else "",
            terminal=job["terminal"],
            console_size=job["console_size"],
            open_stdin=job["open_stdin"],
            close_on_eof=job["stdin_once"],
            runtime_directory=job["bundle"],
            log=self._log,
            cpus=cpus_of_init(job),
        )

    def _started(self, process: Process | None, failure: Failure | None) -> None:
        self._starting = None
        if process is None:
            self._start_failed(failure)
            return
        if not self._may_run(process):
            return
        self.process = process
        self.phase = RUNNING
        self._began = time.monotonic()
        self.memory = MemoryWatch(self.loop, self.job["cgroup"])
        self._begin_health_check(process.pid)
        # Before the answer, and by us: the end comes to us as well, so it cannot overtake.
        journal.started(self.job, attached=bool(self._attach))
        self.control.event(
            {"event": "started", "pid": process.pid, "start_time": process.start_time}
        )
        if self.control.closed and self._attach:
            process.session.feed(b"")
        elif self._attach:
            process.session.join(self.control, self._attach, primary=True)
        process.session.begin()
        process.on_exit(self._init_ended)
        self.loop.tidy()

    def _may_run(self, process: Process) -> bool:
        """Write down who the init is; without that it must end, as nobody would find it."""
        brief = f"the start of container {self.job['id'][:12]} was given up"
        if not self._given_up:
            try:
                self._write_init(process)
            except OSError as error:
                brief = self._cannot_start(error)
            else:
                return True
        from runengine.runtime.messages import Failure

        if not process.exit:
            os.kill(process.pid, signal.SIGKILL)
        self._start_failed(Failure("RuntimeFailed", brief))
        return False

    def _begin_health_check(self, init_pid: int) -> None:
        spec = self.job.get("health")
        if spec:
            from runengine.monitor.health import Health

            self.health = Health(
                self.loop, self.programs, self.job, spec, init_pid, self.server_note
            )
            self.health.begin()

    def _write_init(self, process: Process) -> None:
        record = {
            "pid": process.pid,
            "start_time": process.start_time,
            "started_at": process.started_at,
            "monitor_pid": os.getpid(),
            "monitor_start_time": int(stat_fields(os.getpid())[1][19]),
        }
        path = f"{self.job['state_dir']}/{wire.INIT_NAME}"
        fsatomic.replace(path, wire.dumps(record), durable=False)

    def _start_failed(self, failure: Failure | None) -> None:
        cgroup.kill(self.job["cgroup"])

        def cleaned() -> None:
            self._server.close()
            if failure:
                self._refuse(failure.kind, failure.brief, failure.resolution)

        ending.delete(self, cleaned, force=True)

    def _refuse(self, kind: str, brief: str, resolution: str = "") -> None:
        if self._log:
            self._log.close()
        self.phase = ENDED
        for peer in tuple(self.peers - {self.control}):
            peer.close()
        self.control.error(kind, brief, resolution)
        self.control.end()
        self.stop_if_done()  # where the control had gone before

    # Requests

    def _on_connect(self, sock: _socket.socket) -> None:
        self.peers.add(Peer(self.loop, sock, self))

    def on_gone(self, peer: Peer) -> None:
        """A client's connection is closed."""
        self.peers.discard(peer)
        if peer in self.waiters:
            self.waiters.remove(peer)
        if self.phase is ENDED:
            if peer is self.control:
                ending.leave_alone(self)
            self.stop_if_done()

    def stop_if_done(self) -> None:
        """Leave once everybody has been told, and neither restart nor teardown is waited for."""
        waits = self.teardown_waits or (self.pending and self.pending.is_active)
        if not self.peers and not waits:
            self.loop.stop()

    @property
    def init_pid(self) -> int:
        """Of the run that this monitor watches."""
        return self.process.pid if self.process else 0

    def on_request(self, peer: Peer, request: dict[str, Any]) -> None:
        """Answer a client's control frame."""
        action = _ACTIONS.get(str(request.get("op")))
        if action is None:
            peer.error("InvalidParameter", f"unknown request {request.get('op')!r}")
            return
        try:
            action(self, peer, request)
        except (KeyError, TypeError, ValueError) as error:
            peer.error("InvalidParameter", f"malformed request {request['op']}: {error!r}")

    def _running(self, peer: Peer) -> Process | None:
        if self.phase is RUNNING and self.process:
            return self.process
        peer.error("Conflict", f"container {self.job['id'][:12]} is not running")
        return None

    def _on_attach(self, peer: Peer, request: dict[str, Any]) -> None:
        process = self._running(peer)
        if process and peer.session is None:
            journal.note(self.job, "attach", {})
            peer.event({"event": "attached"})
            process.session.join(peer, request, primary=False)

    def _on_exec(self, peer: Peer, request: dict[str, Any]) -> None:
        if peer.session is not None:
            peer.error("Conflict", "this connection has a session already")
        elif self._running(peer):
            self.execs.start(peer, request)

    def _on_resize(self, peer: Peer, request: dict[str, Any]) -> None:
        session, name = peer.session, request.get("exec_id")
        alone = session is None
        if alone:
            session = self.process.session if self.process and not name else None
            session = self.execs.session(str(name)) if name else session
        rows, columns = int(request["rows"]), int(request["cols"])
        done = session is not None and session.resize(rows, columns)
        if done and self.process and session is self.process.session:
            journal.resized(self.job, rows, columns)
        if not alone:
            return
        if session is None:
            peer.error("NotFound", f"no session {str(name or '')[:12]} that runs")
        elif not done:
            peer.error("Conflict", "the process has no terminal to resize")
        else:
            peer.event({"event": "ok"})

    def _on_wait(self, peer: Peer, request: dict[str, Any]) -> None:
        if request.get("exec_id"):
            self.execs.wait(peer, str(request["exec_id"]))
        elif self.exit and self.phase is ENDED:
            peer.event({"event": "exit", "exit": self.exit})
        elif peer.session is None and peer is not self.control and peer not in self.waiters:
            self.waiters.append(peer)

    def _on_status(self, peer: Peer, _: dict[str, Any]) -> None:
        process = self.process
        peer.event(
            {
                "event": "status",
                "pid": process.pid if process else 0,
                "start_time": process.start_time if process else 0,
                "running": self.phase is RUNNING,
                "execs": self.execs.describe(),
                "exit": self.exit,
            }
        )

    def _on_update(self, peer: Peer, request: dict[str, Any]) -> None:
        changes = dict(request["changes"])
        foreign = changes.keys() - CHANGEABLE
        if foreign:
            raise ValueError(f"{sorted(foreign)} cannot be changed")
        self.job.update(changes)  # type: ignore[typeddict-item]
        peer.event({"event": "ok"})

    def _on_detach(self, peer: Peer, _: dict[str, Any]) -> None:
        if peer.session is not None:
            journal.detached(self.job, self.execs.find(peer.session))
        peer.writes_stdin = False
        peer.close()

    def _on_give_up(self, _peer: Peer, _request: dict[str, Any]) -> None:
        self._give_up()
        if self.process and not self.process.exit:
            os.kill(self.process.pid, signal.SIGKILL)

    def _give_up(self) -> None:
        """End a start that is under way."""
        if self._starting:
            self._given_up = True
            self._starting.abort()

    def _on_take_over(self, peer: Peer, _: dict[str, Any]) -> None:
        ending.take_over(self, peer)

    # End

    def _init_ended(self, status: int, name: str) -> None:
        if self.process is None:
            raise AssertionError("no exit without a process")
        self.phase = ENDING
        self.exit = _exit_record(self.process, status, self._account())
        self.exit["ran_s"] = time.monotonic() - self._began
        if name == UNSTARTED:
            self.exit.update(exit_code=126, error="the program could not be executed")
        if self.health:
            self.health.end()
        # Without a pid namespace of its own the others go on, and hold the output open.
        if not cgroup.is_empty(self.job["cgroup"]):
            cgroup.kill(self.job["cgroup"])
        self.process.session.drain(self.job["drain_timeout_s"], self._drained)

    def _account(self) -> cgroup.Account:
        """What was counted, as far as it is still there to be read."""
        account = cgroup.Account(self.job["cgroup"])
        if self.memory:
            self.memory.look()
            self.memory.close()
            if account.oom_kills is None:
                account.oom_kills = self.memory.oom_kills
        return account

    def _drained(self) -> None:
        if self._log:
            self.attempt(self._log.close)
        self.attempt(self._write_exit)
        if self.exit:
            journal.ended(self.job, self.exit, self.exit["ran_s"])
        ending.delete(self, self._await_idle, force=False)
        # A session that hangs in the kernel must not keep the exit from being told.
        self.loop.later(ending.EXECS_TIMEOUT_S, self._announce)

    def _await_idle(self) -> None:
        """Announce the exit once no process of ours is left inside."""
        if self.health:
            self.health.when_idle(lambda: self.execs.when_idle(self._announce))
        else:
            self.execs.when_idle(self._announce)

    def _write_exit(self) -> None:
        data = wire.dumps(self.exit) + b"\n"
        try:
            fsatomic.replace(f"{self.job['data_dir']}/{wire.EXIT_NAME}", data, durable=False)
        except OSError as error:
            # A full disk: the volatile directory is in memory.
            self.server_note(f"cannot write exit.json: {error}")
            fsatomic.replace(f"{self.job['state_dir']}/{wire.EXIT_NAME}", data, durable=False)

    def _announce(self) -> None:
        if self.phase is ENDED:
            return
        # While the lock is held: whoever waits for it then knows of the restart to come.
        self.pending = self._restart()
        # Before anybody can know: whoever does may start the container again at once.
        self._server.close()
        self.phase = ENDED
        event = {"event": "exit", "exit": self.exit}
        for waiter in self.waiters[:]:
            waiter.event(event)
        if self.process:
            self.process.session.finish(event, keep=self.control)
        ending.await_take_over(self)

    def _restart(self) -> Pending | None:
        """What asks the restart policy after a while, if there is one to be asked."""
        restart, command = self.job.get("restart"), self.job["on_exit"]
        if not restart or not command or self.exit is None:
            return None
        from runengine.monitor import pending

        exit_code, ran_s = self.exit["exit_code"], self.exit["ran_s"]
        delay_s = pending.delay_s(dict(restart), exit_code, ran_s)
        if delay_s is None:
            return None
        return pending.Pending(
            self.loop,
            self.programs,
            self.job["state_dir"],
            command,
            delay_s,
            done=self.stop_if_done,
            report=self.server_note,
        )

    def attempt(self, action: Any) -> None:
        """Do what may fail on a sick host; the exit goes on whatever happens."""
        try:
            action()
        except OSError as error:
            self.server_note(f"{action}: {error}")

    def server_note(self, text: str) -> None:
        """Leave a note in the state directory for whoever looks into a mishap."""
        note(self.job["state_dir"], text)


_ACTIONS = {
    "attach": Container._on_attach,
    "exec": Container._on_exec,
    "resize": Container._on_resize,
    "wait": Container._on_wait,
    "status": Container._on_status,
    "update": Container._on_update,
    "detach": Container._on_detach,
    "give-up": Container._on_give_up,
    "take-over": Container._on_take_over,
}


def _exit_record(process: Process, status: int, account: cgroup.Account) -> dict[str, Any]:
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit_code": 128 - code if code < 0 else code,
        "signal": -code if code < 0 else None,
        "oom_killed": bool(account.oom_kills),
        "oom_kills": account.oom_kills,
        "pid": process.pid,
        "started_at": process.started_at,
        "finished_at": clock.now(),
        "cpu_ns": account.cpu_ns,
        "memory_peak_bytes": account.memory_peak_bytes,
        "error": "",
    }


def note(state_dir: str, text: str) -> None:
    """Append a line to the state directory's monitor.log, if there is room."""
    try:
        with open(f"{state_dir}/{wire.NOTES_NAME}", "a") as file:
            file.write(f"{clock.now()} {text}\n")
    except OSError:
        return
