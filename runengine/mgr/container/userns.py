"""A container's user namespace: which ids it gets, and what is made for each start.

The ids are chosen at create and are part of the record, so that they are free again when it goes
and nothing has to be counted. The namespace itself is made for a start, and kept by a process;
the runtime joins it, and from then on the container's processes hold it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn

from runengine.errors import (
    Conflict,
    EngineError,
    InvalidParameter,
    Unavailable,
    Unsupported,
)
from runengine.mgr.network.modes import has_networks
from runengine.oci_spec import idmaps
from runengine.oci_spec.facts import UserFacts
from runengine.oci_spec.idmaps import IdMaps, Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runengine.linux.devices import DeviceEntry
    from runengine.mgr.container.context import Context
    from runengine.model import HostConfig
    from runengine.oci_spec.facts import SpecFacts
    from runengine.oci_spec.idmaps import Mode, Ranges
    from runengine.oci_spec.mounts import MountPoint
    from runengine.store.containers import Record

DETAIL = "userns"
"""Key of the maps in a record's details."""
_DELEGATED = ("/etc/subuid", "/etc/subgid")


@contextlib.contextmanager
def chosen(context: Context, host: HostConfig) -> Iterator[dict[str, Any]]:
    """What the details of a new container's record say of its ids; nobody else gets them.

    While the block runs the record is to be added. Raises Unavailable if the pool is used up.
    """
    mode = idmaps.parse_mode(host["UsernsMode"])
    if mode.kind == idmaps.HOST:
        yield {}
    elif mode.kind == idmaps.PRIVATE:
        yield _details(idmaps.of_host(host))
    elif mode.kind == idmaps.CONTAINER:
        yield _details(_maps_of_other(context, mode.container))
    else:
        from runengine.linux.locks import locked

        with locked(f"{context.paths.root}/{DETAIL}.lock"):
            first = _free(context, mode)
            given = (mode.uids, mode.gids)
            yield _details(IdMaps(*(idmaps.filled(one, first, mode.size) for one in given)))


def _details(maps: IdMaps | None) -> dict[str, Any]:
    return {DETAIL: maps._asdict()} if maps else {}


def _free(context: Context, mode: Mode) -> int:
    pool, size = context.config.userns_pool, mode.size
    others = [one for maps in _all_maps(context) for ranges in maps for one in ranges]
    taken = [(one.outside, one.length) for one in (*others, *mode.uids, *mode.gids)]
    found = idmaps.free_range(pool, size, [*taken, *_delegated()])
    if found is None:
        raise Unavailable(
            f"no {size} ids in a row are free from {pool[0]} to {pool[0] + pool[1] - 1}",
            resolution="remove containers with --userns=auto, ask for fewer (auto:size=N), or set"
            " userns_pool in the configuration file",
        )
    return found


def _all_maps(context: Context) -> Iterator[IdMaps]:
    for document in context.store.containers.details_with(DETAIL):
        yield _maps(document)


def _delegated() -> Iterator[tuple[int, int]]:
    """What users of this host may map themselves (subuid(5)): they could enter a container."""
    for path in _DELEGATED:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                _, *numbers = line.strip().split(":")
                if len(numbers) == 2 and all(n.isascii() and n.isdigit() for n in numbers):
                    yield int(numbers[0]), int(numbers[1])


def _maps_of_other(context: Context, name: str) -> IdMaps:
    maps = maps_of(context.store.containers.get(context.resolve(name)))
    if maps is None:
        raise Conflict(
            f"cannot join the user namespace of container {name}: it has none of its own",
            resolution="leave --userns out",
        )
    return maps


def maps_of(record: Record) -> IdMaps | None:
    """The container's maps; None in the host's user namespace."""
    document = record.details.get(DETAIL)
    return None if document is None else _maps(document)


def _maps(document: dict[str, Any]) -> IdMaps:
    uids, gids = (tuple(Range(*one) for one in document[key]) for key in ("uids", "gids"))
    return IdMaps(uids, gids)


class UserNamespace:
    """A user namespace on its way to a container."""

    def __init__(self, maps: IdMaps, place: str, *, network: bool, join: str = "") -> None:
        """Make it, or join that at ``join``, which has these maps.

        Raises Unavailable or Unsupported, saying what this host lacks.
        """
        from runengine.linux import userns

        self.maps = maps
        self._place = place
        self._binds = 0
        with contextlib.ExitStack() as undo:
            try:
                texts = map(idmaps.text, maps)
                self._held = userns.make(*texts, network=network, join=join)
                undo.callback(self._held.close)
                # The same for mounts that the engine writes to as well, itself and by overlayfs.
                self._writable = userns.make(*(idmaps.text(_with_own(one)) for one in maps))
            except OSError as error:
                _refused(error)
            undo.pop_all()
        self.network_fd = self._held.network_fd if network else None
        """A network namespace that belongs to it, if one was wanted."""

    @property
    def rootfs(self) -> str:
        """Where the runtime finds the root filesystem: it gets there as root inside."""
        return f"{self._place}/rootfs"

    def mount_root(
        self, lowers: Sequence[str], data_dir: str, merged: str, label: str = ""
    ) -> None:
        """Mount the root filesystem with mapped owners, at ``merged`` and at ``rootfs``."""
        from runengine.rootfs import mapped

        mapped.mount_mapped_overlay(
            lowers,
            data_dir,
            merged,
            layers_fd=self._held.user_fd,
            writable_fd=self._writable.user_fd,
            label=label,
        )
        self._make_place()
        os.mkdir(self.rootfs)
        mapped.bind(merged, self.rootfs, recursive=False)

    def _make_place(self) -> None:
        """A directory that root inside gets to, and nobody else."""
        base = os.path.dirname(self._place)
        _require_way(os.path.dirname(base))
        os.makedirs(base, mode=0o711, exist_ok=True)
        os.chmod(base, 0o711)  # noqa: S103 - to be passed, not to be read
        os.mkdir(self._place, 0o700)
        os.chown(self._place, *self.maps.root)

    def enter(self, known: SpecFacts, *, path_alone: bool) -> None:
        """What is different there: whose the engine's files and the sources of mounts are.

        ``path_alone``: see UserFacts. Raises InvalidParameter for a user that is not mapped, and
        for a device that is elsewhere on the host; Unsupported for a mount that cannot be.
        """
        user = known.user
        require_devices((*known.devices, *(one for edits in known.edits for one in edits.devices)))
        require_ids(self.maps, user.uid, (user.gid, *user.additional_gids))
        for path in known.network_files.values():
            os.chown(path, *self.maps.root)
        known.mounts = [self._bind(point) if point.idmap else point for point in known.mounts]
        known.userns = UserFacts(
            path=self._held.path, rootfs=self.rootfs, maps=self.maps, path_alone=path_alone
        )

    def _bind(self, point: MountPoint) -> MountPoint:
        """The mount with its source's owners mapped."""
        from runengine.rootfs import mapped

        target = f"{self._place}/{self._binds}"
        self._binds += 1
        if os.path.isdir(point.source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        mapped.bind(point.source, target, self._writable.user_fd, recursive=point.recursive)
        return point._replace(source=target)

    def close(self) -> None:
        """Leave the namespace to the container, which has its own mounts of everything.

        The directories stay: each exec of runc's begins in that of the root filesystem.
        """
        self._held.close()
        self._writable.close()
        _unmount_all(self._place)


def _with_own(ranges: Ranges) -> Ranges:
    """A map in which the engine's own id is one that nobody has, unless it is somebody's."""
    if idmaps.inside(ranges, 0) is not None:
        return ranges
    return (*ranges, Range(idmaps.SPARE_ID, 0, 1))


def _refused(error: OSError) -> NoReturn:
    brief = "cannot make a user namespace"
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        raise Unavailable(
            brief,
            details="this host allows no more of them",
            resolution="raise the sysctl user.max_user_namespaces",
        ) from error
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        raise Unsupported(brief, details=str(error), resolution="a kernel with CONFIG_USER_NS")
    raise EngineError(brief, details=str(error)) from error


def _require_way(path: str) -> None:
    """Everybody must be able to pass on the way to the root filesystem: root inside is nobody."""
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            raise Unavailable(
                f"{path} can only be passed by its owner, which root in a user namespace is not",
                resolution=f"chmod o+x {path}, or another --state",
            )
        path = os.path.dirname(path)


def place_of(context: Context, container_id: str) -> str:
    """Where a start shows the runtime what it mounts: outside of what only root gets to."""
    return f"{context.paths.state}-{DETAIL}/{container_id}"


def make(context: Context, record: Record) -> UserNamespace | None:
    """The namespace for a start, if the container has one of its own."""
    maps = maps_of(record)
    if maps is None:
        return None
    clear(place_of(context, record.id))
    if record.details.get("systemd"):
        _delegate(record, maps)
    connected = has_networks(record.host_config["NetworkMode"])
    join = _joined_path(context, record, maps)
    return UserNamespace(maps, place_of(context, record.id), network=connected, join=join)


def _delegate(record: Record, maps: IdMaps) -> None:
    """Give the container's root the cgroup, unless the runtime does by itself."""
    from runengine.cgroups import delegation, layout

    directory = record.details["cgroup"].get(layout.UNIFIED)
    if directory and record.details.get("cgroup_driver") != layout.SYSTEMD:
        delegation.give(directory, *maps.root)


def _joined_path(context: Context, record: Record, maps: IdMaps) -> str:
    """The other container's namespace; empty for one of its own. Raises Conflict."""
    mode = idmaps.parse_mode(record.host_config["UsernsMode"])
    if mode.kind != idmaps.CONTAINER:
        return ""
    from runengine.mgr.container import observe

    state = observe.live_state(context, record, mode.container, "user")
    if _maps_of_other(context, mode.container) != maps:
        raise Conflict(
            f"cannot join the user namespace of container {mode.container}: it is another one than"
            f" that with which {record.name} was created",
            resolution=f"create {record.name} anew",
        )
    return f"/proc/{state['Pid']}/ns/user"


def tear_down(context: Context, record: Record) -> None:
    """Take away what a run has left. Idempotent."""
    if DETAIL in record.details:
        clear(place_of(context, record.id))


def clear(place: str) -> None:
    """Unmount and remove everything at a place."""
    from runengine.mgr.container.context import discard_directory

    _unmount_all(place)
    discard_directory(place)


def _unmount_all(place: str) -> None:
    """The mounts there are the engine's alone."""
    from runengine.linux import libc, mount

    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(place):
            with contextlib.suppress(OSError):
                libc.umount(f"{place}/{name}", mount.UMOUNT_NOFOLLOW | mount.MNT_DETACH)


def require_ids(maps: IdMaps, uid: int, gids: Sequence[int]) -> None:
    """Raise InvalidParameter unless the container's user and groups are mapped."""
    wanted = [("uid", uid, maps.uids), *(("gid", gid, maps.gids) for gid in gids)]
    for kind, number, ranges in wanted:
        if idmaps.outside(ranges, number) is None:
            raise InvalidParameter(
                f"{kind} {number} is not in the container's user namespace",
                resolution="use another --user, or --userns=auto:size=N with more ids",
            )


def require_devices(entries: Iterable[DeviceEntry]) -> None:
    """Raise InvalidParameter unless the host has each device where the container will.

    Nobody can make nodes there, so the runtime shows the host's of the same path, whatever it is.
    """
    from runengine.linux import devices

    for entry in entries:
        try:
            there = devices.entry(entry.path, entry.path)
        except (OSError, devices.NotADevice):
            there = None
        if there is None or there[1:4] != entry[1:4]:
            raise InvalidParameter(
                f"device {entry.path} is at another path on the host, or is none there: that is"
                " incompatible with a user namespace",
                resolution="use the host's path, or --userns=host",
            )
