"""A forked child of the launcher: becomes a call's worker."""

from __future__ import annotations

import array
import atexit
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine import front
from runengine.launcher import caller, spare
from runengine.launcher.rest import Rest
from runengine.linux import inheritance
from runengine.monitor import zygote

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_TIMEOUT_S = 10.0
"""For a client that connects and says nothing, or half of it."""
GOING_TIMEOUT_S = 1.0
"""For a caller that has its answer and does not end: it was stopped, say."""
MAX_REQUEST_BYTES = 64 << 20
"""Arguments and environment together; the kernel allows execve(2) less."""
MAX_DESCRIPTORS = 8
MIN_DESCRIPTORS = 64
"""A caller that may have fewer gets none of ours beside them."""
RECEIVE_SIZE = 1 << 20
COLLECT_THRESHOLD = 200_000
INTERRUPTED = 130


class Refused(Exception):
    """Not a call that a worker can serve: the caller runs it cold."""


class Call(NamedTuple):
    """One command line with what it stands in."""

    args: list[str]
    environment: dict[str, str]
    streams: list[int]
    """Standard streams that the caller has open: their descriptors come with ``GO``."""
    directory_fd: int


class Here(NamedTuple):
    """What a child knows of the launcher."""

    world: caller.World
    identity: bytes
    asking: socket.socket
    """Where the zygote, or the launcher without one, takes requests for monitors."""
    run: Callable[[list[str]], int]
    """Runs a command line; its exit code."""
    afterwards: Callable[[], None]
    """Closes what it has opened; its caller does not wait for that."""
    hold: Callable[[], object]
    """Opens what is to stay open as long as a worker lives."""
    rehearse: Callable[[Callable[[], bool]], None]
    """Does what calls do, for nobody, as far as it is told."""


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Pid and uid of the process at the other end (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def serve(channel: socket.socket, call: socket.socket | None, here: Here) -> int:
    """Serve calls in a child that inherited nothing else; its exit status.

    The first is ``call``, if there is one. After each the launcher is told on ``channel`` that the
    next may come, as long as this process is then what it was before.
    """
    rest = Rest(here.world, channel.fileno(), here.asking.fileno())
    if call is None:
        call = spare.await_connection(channel, lambda goes_on: _get_ready(rest, here, goes_on))
    while call is not None:
        rest.end()
        with call:
            status = _serve_one(call, here)
            may_go_on = status is None and _has_gone(call)
        if not may_go_on or not rest.restore(here.hold):
            return status or 0
        channel.sendall(spare.FREE)
        call = spare.await_connection(channel)
    return 0


def _get_ready(rest: Rest, here: Here, goes_on: Callable[[], bool]) -> None:
    """Do ahead what a call will do: first become its caller, here itself."""
    rest.begin(here.hold)
    itself = caller.Status("self")
    caller.world_of("self", itself)
    inheritance.adopt(os.getpid(), itself.text)
    here.rehearse(goes_on)


def _serve_one(sock: socket.socket, here: Here) -> int | None:
    """Serve a connection; an exit status, or None where another call may come."""
    sock.settimeout(REQUEST_TIMEOUT_S)
    pid, _ = peer_of(sock)
    try:
        body, fds = _receive(sock)
    except (OSError, ValueError):
        return 1  # nobody there who could be told
    try:
        call = parse(body, fds, here.identity)
        _step_into(call, pid, here.world)
    except (Refused, OSError, ValueError):
        with suppress(OSError):
            sock.sendall(front.COLD)
        return 0
    return _work(sock, call, here)


def _has_gone(sock: socket.socket) -> bool:
    """Wait for the caller's end: until then it may still send signals to its worker."""
    sock.settimeout(GOING_TIMEOUT_S)
    try:
        return not sock.recv(1)
    except ConnectionError:
        return True
    except OSError:
        return False


# The request


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Body and descriptors. Raises OSError, ValueError."""
    head, fds = _receive_once(sock, RECEIVE_SIZE)
    start = 1 + front.NUMBER_BYTES
    data = bytearray(head)
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while len(data) < start or len(data) < start + _length(data):
        more = sock.recv(RECEIVE_SIZE)
        if not more or time.monotonic() > deadline:
            raise ValueError("half a request")
        data += more
    return bytes(data[start : start + _length(data)]), fds


def _receive_once(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """What is there, and the descriptors with it. Raises OSError, ValueError."""
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    fds = [fd for level, kind, packed in ancillary for fd in _descriptors(level, kind, packed)]
    if flags & socket.MSG_CTRUNC:
        raise ValueError("too many descriptors")
    return data, fds


def _length(data: bytearray) -> int:
    length = int.from_bytes(data[1 : 1 + front.NUMBER_BYTES], "big")
    if data[:1] != front.CALL or length > MAX_REQUEST_BYTES:
        raise ValueError("not a request")
    return length


def _descriptors(level: int, kind: int, data: bytes) -> list[int]:
    if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
        return []
    fds = array.array("i")
    fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def parse(body: bytes, fds: list[int], identity: bytes) -> Call:
    """The call in a request. Raises Refused for another version's, ValueError for nonsense."""
    fields = body.split(b"\0")
    if fields[:2] != [front.PROTOCOL, identity]:
        raise Refused("another version")
    present, count = fields[2].decode("ascii"), int(fields[3])
    numbers = [int(digit) for digit in present]
    if len(fds) != 1 or not set(numbers) <= set(front.STANDARD):
        raise ValueError("descriptors do not match")
    words, pairs = fields[4 : 4 + count], fields[4 + count :]
    if len(words) != count:
        raise ValueError("arguments are missing")
    environment = dict(_text(pair).split("=", 1) for pair in pairs if b"=" in pair)
    return Call([_text(word) for word in words], environment, numbers, fds[0])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# Becoming the caller


def _step_into(call: Call, pid: int, world: caller.World) -> None:
    """Stand where the caller stands. Raises Refused where that is another world."""
    status = caller.Status(pid)
    if caller.world_of(pid, status) != world:
        raise Refused("another world")
    inheritance.adopt(pid, status.text)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MIN_DESCRIPTORS:
        raise Refused("no room for the descriptors that come")
    os.fchdir(call.directory_fd)
    os.close(call.directory_fd)
    if os.getsid(0) != os.getpid():  # a call before may have had it made
        os.setsid()
    os.environ.clear()
    os.environ.update(call.environment)
    time.tzset()


def _agree(sock: socket.socket, numbers: list[int]) -> bool:
    """Tell the caller who works for it and take its streams; False if it did not wait.

    Raises OSError, ValueError if they did not come as announced.
    """
    try:
        sock.sendall(front.READY + os.getpid().to_bytes(front.NUMBER_BYTES, "big"))
    except ConnectionError:
        return False
    sock.settimeout(None)  # a caller that is stopped now goes on some day
    return _take_streams(sock, numbers)


def _take_streams(sock: socket.socket, numbers: list[int]) -> bool:
    """Wait for ``GO`` and put the streams in their places; False if the caller did not wait.

    Raises OSError, ValueError if they did not come.
    """
    try:
        word, fds = _receive_once(sock, 1)
    except ConnectionError:
        return False
    if word != front.GO:
        return False
    streams = dict(zip(numbers, fds, strict=True))
    for number in front.STANDARD:
        _place_stream(number, streams.get(number))
    return True


def _place_stream(number: int, fd: int | None) -> None:
    """Put a stream in its place; one that the caller has closed becomes /dev/null."""
    opened = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) if fd is None else fd
    os.dup2(opened, number)
    os.close(opened)
    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    if number:
        # As the interpreter does at its start: stderr is line-buffered always.
        stream.reconfigure(line_buffering=number == 2 or os.isatty(number))  # type: ignore[union-attr]


# The work


def _work(sock: socket.socket, call: Call, here: Here) -> int | None:
    from runengine.monitor import launch

    launch.use(lambda fd: ask_for_monitor(here.asking, fd))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    gc.set_threshold(COLLECT_THRESHOLD)
    if not _agree(sock, call.streams):
        return 0  # the caller did not wait: it runs the command itself
    end = die_with(sock)
    sys.argv = ["runengine", *call.args]
    outcome, ended = _outcome(here.run, call.args)
    # What is sent to us from now on comes too late for this call.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    end()
    for number in front.STANDARD:
        # Whoever reads what the call wrote waits for its end, not for ours.
        _place_stream(number, None)
    with suppress(OSError):
        sock.send(outcome, socket.MSG_NOSIGNAL)
    here.afterwards()
    return None if ended else 0


def die_with(sock: socket.socket) -> Callable[[], None]:
    """Be killed when the other end is: a call whose front was killed is a killed call.

    The kernel tells of it (fcntl(2), O_ASYNC), so nothing has to watch. It also tells of what was
    read already, if its sender was held up, so each time we look. Returns what ends it.
    """
    fd = sock.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)

    def look(_number: int = 0, _frame: object = None) -> None:
        if poll.poll(0):
            os.kill(os.getpid(), signal.SIGKILL)

    before = signal.signal(signal.SIGIO, look)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_ASYNC)
    look()  # it may have gone before

    def end() -> None:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        signal.signal(signal.SIGIO, before)

    return end


def _outcome(run: Callable[[list[str]], int], args: list[str]) -> tuple[bytes, bool]:
    """Run the command; the message that tells how it ended, and whether by its own return."""
    returned = True
    try:
        code = run(args)
    except SystemExit as end:
        atexit._run_exitfuncs()
        code = end.code if isinstance(end.code, int) else 1
        returned = False
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if code == INTERRUPTED:
        return front.SIGNALLED + bytes((signal.SIGINT,)), returned
    return front.EXITED + bytes((code & 0xFF,)), returned


def ask_for_monitor(asking: socket.socket, control_fd: int) -> socket.socket:
    """Have a monitor forked that gets ``control_fd``. Raises OSError.

    On the socket that is returned comes one byte when the monitor has it; end of file means that
    there is none, a time-out that whoever is to fork it is stuck.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(front.ANSWER_TIMEOUT_S)
    with theirs:
        try:
            socket.send_fds(asking, [zygote.REQUEST], [control_fd, theirs.fileno()])
        except BaseException:
            ours.close()
            raise
    return ours
