"""Exec sessions: processes that join a running container."""

from __future__ import annotations

import os

from runengine.linux import fsatomic
from runengine.monitor import journal, wire
from runengine.monitor.programs import cpus_of_exec
from runengine.monitor.starting import Plan, Starting
from runengine.runtime import argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runengine.monitor.loop import Loop
    from runengine.monitor.peer import Peer
    from runengine.monitor.programs import Programs
    from runengine.monitor.protocol import Job
    from runengine.monitor.session import Session
    from runengine.monitor.starting import Process
    from runengine.runtime.messages import Failure

REMEMBERED = 1000
"""Results of ended sessions that are kept for those who ask later."""
DRAIN_S = 2.0
"""A process left in the background may hold an ended session's streams; Docker waits as long."""


class Exec:
    """One session: starting, running or ended."""

    __slots__ = ("exit_code", "process", "session_id", "signal", "state", "waiters")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.state = "starting"
        self.process: Process | None = None
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.waiters: list[Peer] = []

    def describe(self) -> dict[str, Any]:
        """For the answer to ``status``."""
        pid = self.process.pid if self.process else 0
        return {"pid": pid, "running": self.state != "ended", "exit_code": self.exit_code}

    def exit_event(self) -> dict[str, Any]:
        """For its clients."""
        return {"event": "exit", "exit_code": self.exit_code, "signal": self.signal}


class Execs:
    """Every exec session of the container."""

    def __init__(self, loop: Loop, programs: Programs, job: Job) -> None:
        self._loop = loop
        self._programs = programs
        self._job = job
        self._known: dict[str, Exec] = {}
        self._count = 0
        self._on_idle: Callable[[], None] | None = None

    def describe(self) -> dict[str, Any]:
        """By id, for the answer to ``status``."""
        return {known.session_id: known.describe() for known in self._known.values()}

    def session(self, session_id: str) -> Session | None:
        """The streams of a running session."""
        known = self._known.get(session_id)
        return known.process.session if known and known.process else None

    def find(self, session: Session) -> str | None:
        """Id of the exec session with these streams."""
        for known in self._known.values():
            if known.process and known.process.session is session:
                return known.session_id
        return None

    def start(self, peer: Peer, request: dict[str, Any]) -> None:
        """Start a process; ``peer`` gets ``started`` and its streams, or an error."""
        session_id = str(request["exec_id"])
        if session_id in self._known:
            peer.error("Conflict", f"exec {session_id[:12]} has already run")
            return
        known = self._known[session_id] = Exec(session_id)
        self._forget_old()
        plan = self._plan(request)
        path = f"{plan.directory}/{plan.tag}.json"
        starting = Starting(
            self._loop,
            self._programs,
            plan,
            lambda process, failure: self._started(known, peer, request, process, failure),
        )
        try:
            fsatomic.replace(path, wire.dumps(request["process"]), durable=False)
            starting.begin()
        except OSError as error:
            del self._known[session_id]
            peer.error("RuntimeFailed", f"cannot start exec {session_id[:12]}: {error.strerror}")

    def _plan(self, request: dict[str, Any]) -> Plan:
        self._count += 1
        job, process, tag = self._job, request["process"], f"exec{self._count}"
        attached = not request.get("detach")

        def build(log: str, pid_file: str, console: str | None) -> list[str]:
            base = argv.with_log(job["runtime"], log)
            return argv.exec_process(
                base, job["id"], f"{tag}.json", pid_file=pid_file, console=console
            )

        return Plan(
            tag,
            job["state_dir"],
            build,
            terminal=bool(process.get("terminal")),
            console_size=request.get("console_size"),
            open_stdin=attached and bool(request.get("stdin")),
            close_on_eof=True,
            cpus=cpus_of_exec(job, request.get("cpus")),
        )

    def _forget_old(self) -> None:
        if len(self._known) > REMEMBERED:
            for key in [k for k, known in self._known.items() if known.state == "ended"][:100]:
                del self._known[key]

    def _started(
        self,
        known: Exec,
        peer: Peer,
        request: dict[str, Any],
        process: Process | None,
        failure: Failure | None,
    ) -> None:
        if process is None or failure:
            del self._known[known.session_id]
            if failure:
                peer.error(failure.kind, failure.brief, failure.resolution)
            self._check_idle()
            return
        known.process = process
        known.state = "running"
        journal.exec_started(self._job, request)
        peer.event({"event": "started", "pid": process.pid, "start_time": process.start_time})
        if request.get("detach"):
            peer.end()
        elif peer.closed:
            process.session.feed(b"")
        else:
            process.session.join(peer, request, primary=True)
        process.session.begin()
        process.on_exit(lambda status, _: self._ended(known, process, status))

    def _ended(self, known: Exec, process: Process, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        known.signal = -code if code < 0 else None
        known.exit_code = 128 - code if code < 0 else code
        journal.exec_ended(self._job, known.session_id, known.exit_code)
        process.session.drain(DRAIN_S, lambda: self._finish(known, process))

    def _finish(self, known: Exec, process: Process) -> None:
        known.state = "ended"
        event = known.exit_event()
        process.session.finish(event)
        for waiter in known.waiters:
            waiter.event(event)
            waiter.end()
        known.waiters.clear()
        self._check_idle()
        self._loop.tidy()

    def wait(self, peer: Peer, session_id: str) -> None:
        """Tell ``peer`` of a session's exit."""
        known = self._known.get(session_id)
        if known is None:
            peer.error("NotFound", f"exec process {session_id[:12]} not found")
        elif known.state == "ended":
            peer.event(known.exit_event())
            peer.end()
        else:
            known.waiters.append(peer)

    def when_idle(self, action: Callable[[], None]) -> None:
        """The container has ended, and with it every session: call ``action`` after the last."""
        self._on_idle = action
        self._check_idle()

    def _check_idle(self) -> None:
        if self._on_idle and all(known.state == "ended" for known in self._known.values()):
            action, self._on_idle = self._on_idle, None
            action()
