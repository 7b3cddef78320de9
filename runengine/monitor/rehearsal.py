"""Containers that are none, played to their end in the zygote before anybody is forked from it.

What a monitor does for the first time it writes down: the interpreter's caches, counters in its
code, names in its classes. Done here once it costs no child a page of memory. The runtime is a
shell that starts a process in the background and leaves its pid, as a runtime does.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from runengine.linux import inheritance
from runengine.monitor import ending, wire
from runengine.monitor.loop import READ, Loop
from runengine.monitor.main import Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROUNDS = 8
"""The interpreter adapts a function at its eighth call."""
TIMEOUT_S = 5.0
ENOUGH_S = 1.0
"""Of a processor's time, for all rounds: a host that is slower than that, or where one takes
TIMEOUT_S, gets monitors that are larger."""
_NAME = "rehearsal"
_END_OF_INPUT = wire.frame(wire.STDIN, b"")
_PROGRAM = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; echo end >&2; read word"
"""It waits for the end of its input: a shell would take its child's exit from us."""
_RUNTIME = """
while [ $# -gt 0 ] && [ "$1" != --pid-file ]; do shift; done
exec 3<&0
sh -c "$PROGRAM" <&3 3<&- &
echo $! >"$2"
"""


def play(directory: str) -> None:
    """Play in ``directory``, which is made and removed. Raises OSError."""
    enough = time.process_time() + ENOUGH_S
    for number in range(ROUNDS):
        _discard(directory)
        os.makedirs(f"{directory}/runtime", mode=0o700)
        os.mkdir(f"{directory}/cgroup")
        in_time = _Play(directory, attached=bool(number % 2)).run()
        if not in_time or time.process_time() > enough:
            break
        inheritance.adopt(os.getpid(), inheritance.read_status("self"))
    _discard(directory)


def _discard(directory: str) -> None:
    """Remove what a play made, or one that was killed left."""
    for path in (f"{directory}/runtime", f"{directory}/cgroup", directory):
        if os.path.isdir(path):
            ending.discard(path)


class _Play:
    """One container, with its clients, in one loop with its monitor."""

    def __init__(self, directory: str, *, attached: bool) -> None:
        self._directory = directory
        self._attached = attached
        self._in_time = True
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._monitor = Monitor(theirs.detach())
        self._loop = self._monitor.loop
        self._sockets = [ours]
        self._watch(ours)

    def run(self) -> bool:
        """Return when the container is over; False if that takes too long."""
        self._begin()
        self._loop.later(TIMEOUT_S, self._give_up)
        self._monitor.serve()
        if Loop.give_back:
            Loop.give_back()
        for sock in self._sockets:
            sock.close()
        return self._in_time

    def _begin(self) -> None:
        """Send the job, with the container's lock."""
        streams = {"stdin": True, "stdout": True, "stderr": True}
        attach = streams if self._attached else None
        data = wire.control({"op": "run", "job": self._job(), "attach": attach})
        path = f"{self._directory}/{wire.LOCK_NAME}"
        lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        packed = lock_fd.to_bytes(wire.FD_BYTES, sys.byteorder)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)
        self._sockets[0].sendmsg([data], [rights])
        os.close(lock_fd)

    def _give_up(self) -> None:
        self._in_time = False
        self._loop.stop()

    def _job(self) -> dict[str, Any]:
        driver = "json-file" if self._attached else "cri"
        log = {"driver": driver, "path": f"{self._directory}/log", "max_size": 0, "max_file": 1}
        return {
            "id": _NAME,
            "state_dir": self._directory,
            "data_dir": self._directory,
            "bundle": self._directory,
            "runtime": ["env", f"PROGRAM={_PROGRAM}", "sh", "-c", _RUNTIME, "sh"],
            "terminal": False,
            "console_size": None,
            "open_stdin": True,
            "stdin_once": True,
            "log": {**log, "attrs": {}},
            "cgroup": {"pids": f"{self._directory}/cgroup"},
            "runtime_dir": f"{self._directory}/runtime",
            "merged": None,
            "on_exit": ["true"],
            "drain_timeout_s": 1.0,
            "restart": None,
            "events": {"path": f"{self._directory}/events", "attributes": {}, "began_ns": 0},
            "health": None,
        }

    # The clients

    def _connect(self, request: dict[str, Any]) -> None:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._sockets.append(sock)
        os.chdir(self._directory)
        try:
            sock.connect(wire.SOCKET_NAME)
        finally:
            os.chdir("/")
        self._watch(sock)
        self._request(sock, request)

    def _watch(self, sock: _socket.socket) -> None:
        splitter = wire.Splitter()

        def receive(_: int) -> None:
            data = sock.recv(1 << 16)
            if not data:
                self._loop.forget(sock.fileno())
                sock.close()
            for stream, payload in splitter.feed(data):
                if stream == wire.CONTROL:
                    self._on_event(sock, wire.loads(payload))

        self._loop.watch(sock.fileno(), READ, receive)

    def _request(self, sock: _socket.socket, request: dict[str, Any]) -> None:
        sock.send(wire.control(request), _socket.MSG_NOSIGNAL)

    def _on_event(self, sock: _socket.socket, event: dict[str, Any]) -> None:
        """Started: run a process inside. That has ended: end the container. Then be done."""
        is_first = sock is self._sockets[0]
        kind = event["event"]
        if kind == "started" and is_first:
            request = {"op": "exec", "exec_id": _NAME, "process": {}}
            self._connect({**request, "stdin": True, "stdout": True, "stderr": True})
        elif kind in ("started", "attached"):
            sock.send(_END_OF_INPUT)
        elif kind == "exit" and "exit" not in event:
            self._end(self._sockets[0])
        elif kind == "exit" and is_first:
            self._request(sock, {"op": "take-over"})

    def _end(self, first: _socket.socket) -> None:
        """Close the program's input; without having been attached, attach first."""
        if self._attached:
            first.send(_END_OF_INPUT)
            return
        self._loop.forget(first.fileno())
        first.close()
        self._connect({"op": "attach", "stdin": True, "stdout": True})
