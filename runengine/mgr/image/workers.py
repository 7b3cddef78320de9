"""Worker processes of a pull: forked, talking JSON lines, never outliving their parent.

Tasks are numbers in a pipe from which each idle worker takes the next one. A worker that fails
stops the others: their locks and staging directories are freed by the kernel.
"""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, Any

from runengine import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Message = dict[str, Any]
    Send = Callable[[Message], None]
    Work = Callable[[Iterator[int], Send], None]

_TASK_BYTES = 2
_READ_BYTES = 1 << 16


def share(work: Work, tasks: int, workers: int, receive: Callable[[Message], None]) -> None:
    """Call ``work(numbers, send)`` in each worker, ``receive`` for whatever they send.

    The numbers below ``tasks`` are shared out among the workers in order. Raises the first error
    of any worker; when this returns or raises, no worker is left. In a process with several
    threads, of which a fork would lose all but one, the work is done here.
    """
    if may_fork():
        _run(work, tasks, workers, receive)
    else:
        work(iter(range(tasks)), receive)


def may_fork() -> bool:
    """Whether this process has one thread only."""
    return threading.active_count() == 1


def _run(work: Work, tasks: int, workers: int, receive: Callable[[Message], None]) -> None:
    queue = _queue(tasks)
    children: dict[int, int] = {}
    try:
        for _ in range(workers):
            pid, fd = _fork(work, queue, list(children.values()))
            children[pid] = fd
        os.close(queue)
        queue = -1
        _listen(children, receive)
    finally:
        if queue >= 0:
            os.close(queue)
        _end(children)


def _queue(tasks: int) -> int:
    """A pipe with every task's number in it; a pipe's lock hands them out one at a time."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        os.write(writer, b"".join(number.to_bytes(_TASK_BYTES, "big") for number in range(tasks)))
    finally:
        os.close(writer)
    return reader


def _numbers(queue: int) -> Iterator[int]:
    while data := os.read(queue, _TASK_BYTES):
        yield int.from_bytes(data, "big")


def _fork(work: Work, queue: int, others: list[int]) -> tuple[int, int]:
    reader, writer = os.pipe()
    parent = os.getpid()
    # Python runs hooks of its own at a fork, and an interrupt that arrives in one is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pid = os.fork()
    finally:
        if os.getpid() == parent:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if pid:
        os.close(writer)
        return pid, reader
    try:
        _in_child(parent, [reader, *others])
        _work(work, queue, writer)
    finally:
        os._exit(1)


def _in_child(parent: int, foreign_fds: list[int]) -> None:
    """Die with the parent, leave ^C to it, and do not keep its pipes open."""
    import prctl

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for fd in foreign_fds:
        os.close(fd)


def _work(work: Work, queue: int, writer: int) -> None:
    def send(message: Message) -> None:
        os.write(writer, json.dumps(message).encode() + b"\n")

    try:
        work(_numbers(queue), send)
        send({"end": True})
        os._exit(0)
    except errors.EngineError as error:
        fields = [error.brief, error.details, error.resolution]
        send({"error": [type(error).__name__, *fields]})
    except BaseException as error:  # noqa: BLE001 (the parent reports it)
        send({"error": ["EngineError", "a worker of the pull failed", repr(error), None]})


def _listen(children: dict[int, int], receive: Callable[[Message], None]) -> None:
    """Pass on messages until every worker said that it is done."""
    poll = select.poll()
    pending = dict.fromkeys(children.values(), b"")
    for fd in pending:
        poll.register(fd, select.POLLIN)
    while pending:
        for fd, _ in poll.poll():
            data = os.read(fd, _READ_BYTES)
            if not data:
                raise errors.EngineError("a worker of the pull died", resolution="try again")
            *lines, pending[fd] = (pending[fd] + data).split(b"\n")
            if _dispatch(lines, receive):
                poll.unregister(fd)
                del pending[fd]


def _dispatch(lines: list[bytes], receive: Callable[[Message], None]) -> bool:
    """Whether the worker's end was among the messages. Raises its error."""
    for line in lines:
        message = json.loads(line)
        if "error" in message:
            raise _rebuilt(*message["error"])
        if "end" in message:
            return True
        receive(message)
    return False


def _rebuilt(
    kind: str, brief: str, details: str | None, resolution: str | None
) -> errors.EngineError:
    found = getattr(errors, kind, errors.EngineError)
    error: errors.EngineError = found(brief, details=details, resolution=resolution)
    return error


def _end(children: dict[int, int]) -> None:
    """Kill whoever is left and take their exit; they are our own children, so pids are safe."""
    for pid, fd in children.items():
        os.kill(pid, signal.SIGKILL)
        os.close(fd)
    for pid in children:
        os.waitpid(pid, 0)
