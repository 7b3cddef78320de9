"""After the container's end: the runtime's state, the mount, and who does the rest."""

from __future__ import annotations

import errno
import fcntl
import os

from runengine.linux import fsatomic
from runengine.monitor import cgroup, wire
from runengine.runtime import argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from runengine.monitor.container import Container
    from runengine.monitor.peer import Peer
    from runengine.monitor.protocol import Job
else:
    import _signal as signal

LEFTOVERS_TIMEOUT_S = 2.0
"""How long killed processes may take to leave the cgroup before the runtime is asked anyway."""
DELETE_TIMEOUT_S = 10.0
UNMOUNT_TIMEOUT_S = 1.0
EXECS_TIMEOUT_S = 15.0
TAKE_OVER_S = 5.0
"""How long the command that started the container may take to claim the teardown."""
BYSTANDERS_S = 10.0
"""How long clients that merely watch may take to read the end."""
INTERVAL_S = 0.005
LOCK_INTERVAL_S = 0.05


def delete(container: Container, done: Callable[[], None], *, force: bool) -> None:
    """Make the runtime forget the container, unmount (after a run), then call ``done``."""
    _Deletion(container, done, force=force).begin()


class _Deletion:
    """Leftovers killed, ``delete`` run, cgroup gone, root filesystem unmounted."""

    def __init__(self, container: Container, done: Callable[[], None], *, force: bool) -> None:
        self._container = container
        self._loop = container.loop
        self._done = done
        self._force = force
        self._tries = int(LEFTOVERS_TIMEOUT_S / INTERVAL_S)

    def begin(self) -> None:
        """Without processes left there is nothing in it for the runtime: 10 ms for some files."""
        job = self._container.job
        directory = job["runtime_dir"]
        if directory and not self._force and cgroup.remove(job["cgroup"]):
            self._container.attempt(lambda: discard(directory))
            self._deleted(0)
        else:
            self.wait_for_leftovers()

    def wait_for_leftovers(self) -> None:
        directories = self._container.job["cgroup"]
        self._tries -= 1
        if self._tries > 0 and cgroup.kill(directories):
            self._loop.later(INTERVAL_S, self.wait_for_leftovers)
            return
        self._delete()

    def _delete(self) -> None:
        job = self._container.job
        if job.get("checkpoint"):
            self._container.attempt(lambda: _unmount_restored(job))
        command = argv.delete(job["runtime"], job["id"], force=self._force)
        try:
            pid = self._container.programs.spawn(command)
        except OSError as error:
            self._container.server_note(f"cannot run {command}: {error}")
            self._deleted(0)
            return
        timer = self._loop.later(DELETE_TIMEOUT_S, lambda: os.kill(pid, signal.SIGKILL))

        def ended(status: int, _: str) -> None:
            timer.cancel()
            self._deleted(status)

        self._loop.on_exit(pid, ended)
        if job["merged"] and not self._force:
            # Loaded while the runtime works, so that it costs neither time nor idle memory.
            from runengine.linux import libc  # noqa: F401

    def _deleted(self, status: int) -> None:
        job = self._container.job
        if status and not self._force:
            self._container.server_note(f"delete of {job['id']} ended with wait status {status}")
        cgroup.remove(job["cgroup"])
        self._tries = int(UNMOUNT_TIMEOUT_S / INTERVAL_S)
        if job["merged"] and not self._force:
            self._unmount(job["merged"])
        else:
            self._done()

    def _unmount(self, merged: str) -> None:
        """Unmount; while a dying process still uses it again for a while, then lazily."""
        from runengine.linux import libc

        umount_nofollow, detach = 8, 2
        self._tries -= 1
        try:
            libc.umount(merged, umount_nofollow | (0 if self._tries > 0 else detach))
        except OSError as error:
            if error.errno == errno.EBUSY and self._tries > 0:
                self._loop.later(INTERVAL_S, lambda: self._unmount(merged))
                return
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                self._container.server_note(f"cannot unmount {merged}: {error}")
        self._done()


def _unmount_restored(job: Job) -> None:
    """What a runtime that was killed while it restored leaves mounted where it deletes."""
    from runengine.linux import libc

    umount_nofollow, detach = 8, 2
    left = argv.restored_root(job["runtime"], job["id"])
    try:
        libc.umount(left, umount_nofollow | detach)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def discard(directory: str) -> None:
    """Remove a flat directory."""
    for name in os.listdir(directory):
        os.unlink(f"{directory}/{name}")
    os.rmdir(directory)


def await_take_over(container: Container) -> None:
    """Give the starting command its chance; without one, go on alone.

    A restart policy waits for nobody, and no command can take its part over.
    """
    if container.control.closed or container.pending:
        leave_alone(container)
    if not container.control.closed:
        container.loop.later(TAKE_OVER_S, lambda: _give_up(container))
    container.loop.later(BYSTANDERS_S, lambda: _drop_bystanders(container))
    for peer in tuple(container.peers - {container.control}):
        peer.end()
    container.stop_if_done()


def take_over(container: Container, peer: Peer) -> None:
    """The starting command claims the teardown; too late if it has begun."""
    if peer is not container.control or container.exit is None:
        peer.error("Conflict", "there is nothing to take over")
    elif container.job["on_exit"] is None or not container.teardown_begun:
        container.teardown_begun = True
        peer.event({"event": "taken"})
        peer.end()
    else:
        peer.error("Conflict", "the teardown has begun")
        peer.end()


def leave_alone(container: Container) -> None:
    """Nobody does the teardown: run the command for it. What a client has not read stays."""
    if container.teardown_begun:
        return
    container.teardown_begun = True
    command = container.job["on_exit"]
    if container.pending:
        container.pending.begin()
    elif command and container.exit is not None:
        container.teardown_waits = True
        _run_when_free(container, command)


def _run_when_free(container: Container, command: list[str]) -> None:
    """Run the teardown's command, unless somebody who has the container's lock does its work.

    A ``stop`` or ``rm`` tears down what it has ended: a whole interpreter would start for nothing.
    """
    if _is_locked(f"{container.job['state_dir']}/lock"):
        container.loop.later(LOCK_INTERVAL_S, lambda: _run_when_free(container, command))
        return
    if _is_left(container):
        try:
            container.programs.spawn(command, own_session=True)
        except OSError as error:
            container.server_note(f"cannot run {command}: {error}")
    container.teardown_waits = False
    container.stop_if_done()


def _is_locked(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # it went with the container
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _is_left(container: Container) -> bool:
    """Whether the run is not torn down: then its note of the init is still there."""
    data = fsatomic.read_optional(f"{container.job['state_dir']}/{wire.INIT_NAME}")
    if data is None:
        return False
    try:
        return bool(wire.loads(data)["pid"] == container.init_pid)
    except (KeyError, wire.ProtocolError):
        return True


def _give_up(container: Container) -> None:
    # Its reader may be slow or stuck: what it has not read stays, but holds nothing else up.
    leave_alone(container)
    container.control.end()


def _drop_bystanders(container: Container) -> None:
    for peer in tuple(container.peers):
        if not peer.primary:
            peer.close()
