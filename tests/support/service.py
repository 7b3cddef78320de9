"""A service of a test's own, to be stopped, killed and bothered."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from socket import AF_UNIX
from socket import socket as Connection  # noqa: N812 - the name is taken in the class
from typing import Any

from runengine import front
from runengine.launcher import rest
from runengine.linux import pidfd
from tests.support.command_line import TIMEOUT_S, WarmCommandLine


class Service(WarmCommandLine):
    """The command line with a service that this test alone uses."""

    @property
    def socket(self) -> Path:
        """Where the launcher listens."""
        return self.state / front.SOCKET_NAME

    @property
    def pid(self) -> int:
        """The launcher."""
        return self.service.pid

    def connect(self) -> Connection:
        """A connection to the launcher; the caller closes it."""
        sock = Connection(AF_UNIX)
        sock.settimeout(TIMEOUT_S)
        directory = os.open(self.state, os.O_PATH)
        try:
            # A socket's address holds 108 bytes; a test's directory has a longer name.
            sock.connect(f"/proc/self/fd/{directory}/{front.SOCKET_NAME}")
        finally:
            os.close(directory)
        return sock

    def descriptors(self) -> int:
        """How many descriptors the launcher has, without a channel to each worker."""
        return len(os.listdir(f"/proc/{self.pid}/fd")) - len(self.workers())

    def children(self) -> dict[int, str]:
        """The launcher's children with their states."""
        found = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            fields = _fields(int(pid))
            if fields:
                found[int(pid)] = fields[0]
        return found

    def workers(self) -> list[int]:
        """Children that are no monitors."""
        return [pid for pid in self.children() if not _name(pid).startswith("runengine-mon")]

    def calls(self) -> list[int]:
        """Workers that run a command: each is a session of its own then, and does not wait."""
        return [
            pid
            for pid in self.workers()
            if _fields(pid)[3:4] == [str(pid)] and _name(pid) != rest.WAITING
        ]

    def waiting(self) -> list[int]:
        """Workers that have no call."""
        return [pid for pid in self.workers() if _name(pid) == rest.WAITING]

    def signal(self, number: int) -> None:
        """Signal the launcher."""
        self.service.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the launcher."""
        self.service.kill()
        self.service.wait(TIMEOUT_S)

    def stop(self) -> None:
        """End the launcher as a service manager does."""
        self.service.terminate()
        assert self.service.wait(TIMEOUT_S) == 0

    def begin_again(self, *options: str) -> None:
        """A new service after the end of the old one."""
        self.service = self.serve(*options)

    def cold(self, *arguments: str) -> str:
        """Output of a call that must succeed without the service."""
        done = self.call(*arguments, env={**self.environment, "RUNENGINE_LAUNCHER": "off"})
        assert (done.code, done.err) == (0, ""), done
        return done.out.strip()

    def either(self, *arguments: str) -> Any:
        """How a call ended that may be cold or warm."""
        environment = {**self.environment}
        del environment["RUNENGINE_LAUNCHER"]
        return self.call(*arguments, env=environment)

    def init(self, name: str) -> dict[str, Any]:
        """What the monitor wrote of the container's init and of itself."""
        container = self.ok("inspect", "--format", "{{.Id}}", name)
        path = self.state / "containers" / container / "init.json"
        note: dict[str, Any] = json.loads(path.read_text())
        return note

    def kill_monitor(self, name: str) -> None:
        """SIGKILL the container's monitor."""
        note = self.init(name)
        _kill(note["monitor_pid"], note["monitor_start_time"])

    def kill_init(self, name: str) -> None:
        """SIGKILL the container's init."""
        note = self.init(name)
        _kill(note["pid"], note["start_time"])

    def close(self) -> None:
        """Remove every container and end the service, whether it still runs or not."""
        if self.service.poll() is None:
            self.signal(signal.SIGCONT)
            super().close()
        else:
            for name in self.cold("ps", "-a", "--format", "{{.Names}}").split():
                self.cold("rm", "-f", name)


def _kill(pid: int, started: int) -> None:
    fd = pidfd.open_verified(pid, started)
    assert fd is not None
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    assert pidfd.wait(fd, TIMEOUT_S)
    os.close(fd)


def _fields(pid: int) -> list[str]:
    """From the state on (proc_pid_stat(5)); none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""
