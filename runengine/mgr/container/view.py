"""A container's files as the container sees them, whatever state it is in.

Of one that runs they are what its init has as root, found by a pid that was checked, and held by a
descriptor from then on. Of one that does not they are put together apart (``rootfs.standing``).
No lock is held while somebody reads, so a slow reader is in nobody's way.
"""

from __future__ import annotations

import os
import select
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from runengine.errors import Conflict, NotFound
from runengine.linux import pidfd
from runengine.mgr.container import observe, shown, userns, volumes
from runengine.mgr.container.recover import settle
from runengine.oci_spec import idmaps
from runengine.rootfs import standing
from runengine.rootfs.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runengine.linux.mountns import Detached
    from runengine.oci_spec.idmaps import Range

    Way = Callable[[Iterable[Range], int], int | None]
    from runengine.mgr.container.context import Context
    from runengine.oci_spec.mounts import MountPoint
    from runengine.store.containers import Record, State

_OWN = ("dev", "proc", "sys")
"""What the runtime mounts in every container; no data of anybody's."""
_ATTEMPTS = 5


class View:
    """Open files of a container; ``places`` finds names among them."""

    def __init__(self, record: Record, root_fd: int, watch_fd: int = -1) -> None:
        self.record = record
        self.root_fd = root_fd
        self.places = Places(root_fd)
        self._watch_fd = watch_fd
        # Files of one that does not run have the owners that it sees.
        self._maps = userns.maps_of(record) if watch_fd >= 0 else None
        self._poll = select.poll()
        if watch_fd >= 0:
            self._poll.register(watch_fd, select.POLLIN)

    def owners_inside(self, uid: int, gid: int) -> tuple[int, int]:
        """What the container sees for owners as these files have them here.

        They differ while it runs in a user namespace.
        """
        return self._mapped(idmaps.inside, uid, gid)

    def owners_outside(self, uid: int, gid: int) -> tuple[int, int]:
        """What these files must be given here for the container to see such owners."""
        return self._mapped(idmaps.outside, uid, gid)

    def _mapped(self, way: Way, uid: int, gid: int) -> tuple[int, int]:
        if self._maps is None:
            return uid, gid
        mapped_uid, mapped_gid = way(self._maps.uids, uid), way(self._maps.gids, gid)
        return (
            idmaps.NOBODY if mapped_uid is None else mapped_uid,
            idmaps.NOBODY if mapped_gid is None else mapped_gid,
        )

    @property
    def volatile(self) -> tuple[str, ...]:
        """Places where a container that does not run would have a tmpfs."""
        if self._watch_fd >= 0:
            return ()
        points = self.record.details["mounts"]
        return tuple(point["Destination"] for point in points if point["Type"] == "tmpfs")

    @property
    def hidden(self) -> frozenset[tuple[int, int]]:
        """Directories that show the kernel's things, not the container's."""
        root = os.stat(".", dir_fd=self.root_fd)
        found = set()
        for name in _OWN:
            try:
                seen = os.stat(name, dir_fd=self.root_fd, follow_symlinks=False)
            except OSError:
                continue
            if seen.st_dev != root.st_dev:
                found.add((seen.st_dev, seen.st_ino))
        return frozenset(found)

    def check(self) -> None:
        """Raise Conflict if the container has stopped: its mounts went with its processes."""
        if self._watch_fd >= 0 and self._poll.poll(0):
            raise Conflict(
                f"container {self.record.name} stopped while files were copied",
                resolution="copy again",
            )


@contextmanager
def opened(context: Context, name: str, *, write: bool = False) -> Iterator[View]:
    """The files of a container, to read or to ``write`` to.

    While a container that does not run is written to, its lock is held. Raises NotFound, Conflict
    (it is being removed, or stopped or was removed meanwhile), EngineError.
    """
    container_id = context.resolve(name)
    with ExitStack() as stack:
        view = _live(context, container_id, stack) or _at_rest(
            context, container_id, stack, write=write
        )
        stack.callback(view.places.close)
        yield view
        view.check()
        if context.find(container_id) is None:
            raise NotFound(f"container {view.record.name} was removed while files were copied")


def _live(context: Context, container_id: str, stack: ExitStack) -> View | None:
    """The root of the container's init; None if it does not run."""
    record = context.store.containers.get(container_id)
    for _ in range(_ATTEMPTS):
        state = observe.observe(context, record)
        if not observe.is_live(state):
            return None
        view = _of_init(record, state, stack)
        if view is not None:
            return view
        record = context.store.containers.get(container_id)
    return None


def _of_init(record: Record, state: State, stack: ExitStack) -> View | None:
    pid, started = state["Pid"], state["StartTime"]
    watch = pidfd.open_verified(pid, started)
    if watch is None:
        return None
    stack.callback(os.close, watch)
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    stack.callback(os.close, root)
    # Still there after the root was opened: so it was this process's.
    if not pidfd.is_alive(pid, started):
        return None
    return View(record, root, watch)


def _at_rest(
    context: Context, container_id: str, stack: ExitStack, *, write: bool
) -> View:
    with ExitStack() as locked:
        record = locked.enter_context(context.locked(container_id))
        if record.status == "removing":
            raise Conflict(f"container {record.name} is marked for removal")
        state = settle(context, record)
        if observe.is_live(state):  # started while we waited for the lock
            view = _of_init(record, state, stack)
            if view is None:
                raise Conflict(f"container {record.name} is just starting or stopping")
            return view
        layers = _layers(context, record)
        binds = _binds(context, record, layers, locked)
        if write:
            readonly = record.host_config["ReadonlyRootfs"]
            made = standing.to_write(layers, binds, readonly=readonly)
            stack.push(locked.pop_all())
        else:
            made = _to_read(layers, binds)
    stack.callback(made.close)
    return View(record, made.root_fd)


def _to_read(layers: standing.Layers, binds: list[standing.Bind]) -> Detached:
    try:
        return standing.to_read(layers, binds)
    except standing.MissingMountpoints:
        # It never ran, so they were never made.
        standing.to_write(layers, binds, readonly=False).close()
        return standing.to_read(layers, binds)


def _layers(context: Context, record: Record) -> standing.Layers:
    data_dir = context.data_dir(record.id)
    return standing.Layers(
        context.images.layer_paths(record.layers)[::-1],
        f"{data_dir}/upper",
        f"{data_dir}/work",
        f"{data_dir}/merged",
        shown.place(data_dir) if shown.is_shown(data_dir) else "",
    )


def _binds(
    context: Context, record: Record, layers: standing.Layers, stack: ExitStack
) -> list[standing.Bind]:
    """What the container mounts of the host's; volumes are held until ``stack`` is left."""
    points = volumes.points_of(record)
    if any(point.volume is not None for point in points):
        stack.callback(volumes.let_go, context, record)
        bare = standing.to_read(layers, ())
        try:
            # As at a start: what the image has at their places goes into empty volumes.
            rootfs = f"/proc/self/fd/{bare.root_fd}"
            points = volumes.bring(context, record, points, rootfs)
        finally:
            bare.close()
    found = [
        standing.Bind(point.source, point.destination, point.readonly)
        for point in points
        if point.type != "tmpfs" and _is_there(point)
    ]
    files: dict[str, str] = record.details.get("network_files") or {}
    taken = {bind.destination for bind in found}
    readonly = record.host_config["ReadonlyRootfs"]
    found += [
        standing.Bind(source, path, readonly)
        for path, source in files.items()
        if path not in taken and os.path.exists(source)
    ]
    return found


def _is_there(point: MountPoint) -> bool:
    """Whether a mount has a source; one of ``-v`` is made as the first start would make it."""
    if not os.path.exists(point.source) and point.create_source:
        os.makedirs(point.source, mode=0o755, exist_ok=True)
    return os.path.exists(point.source)
