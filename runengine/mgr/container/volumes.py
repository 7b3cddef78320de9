"""What a container mounts: decided when it is created, brought when it starts, let go at its end.

A volume is bound into the container as it is. What is mounted of it when that is not its root (a
subpath, a directory of the modes ``dr`` and ``rr``) is bound to a place of the run's own first:
by a descriptor that the kernel resolved within the volume, as a name could be a link by the time
the runtime gets to it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runengine import ids
from runengine.errors import InvalidParameter
from runengine.oci_spec import user_mounts
from runengine.oci_spec.mounts import MountPoint, anonymous_volume, parents_first
from runengine.oci_spec.volume_mounts import VolumeWish
from runengine.store.containers import NEVER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from runengine.mgr.container.context import Context
    from runengine.model import ContainerConfig, HostConfig
    from runengine.store.containers import Record
    from runengine.store.volumes import Volume

_FROM_MODES = frozenset({"ro", "rw", "z", "Z"})
_DEFAULTS = MountPoint("", "", "")
_NO_WISH = VolumeWish()
FRESH = "fresh"
"""In the record's details: its next start is the first on its image."""


# Deciding


def plan(context: Context, config: ContainerConfig, host: HostConfig) -> list[MountPoint]:
    """Every mount of a new container, parents first; anonymous volumes have their names.

    What the request names itself goes over ``--volumes-from``, and both over the image's volumes.
    Raises InvalidParameter, NotFound (container).
    """
    driver = str(host.get("VolumeDriver") or "")
    points = [_named(point, driver) for point in user_mounts.resolve_all(host)]
    taken = {point.destination for point in points}
    borrowed: dict[str, MountPoint] = {}
    for text in host["VolumesFrom"]:
        found = _borrowed(context, text)
        borrowed |= {one.destination: one for one in found if one.destination not in taken}
    points += borrowed.values()
    taken |= borrowed.keys()
    return parents_first(points + of_image(config, host, taken))


def of_image(
    config: ContainerConfig, host: HostConfig, taken: Collection[str]
) -> list[MountPoint]:
    """The anonymous volumes that are wanted where nothing else is mounted, with new names."""
    wanted = [anonymous_volume(path) for path in config["Volumes"]]
    unnamed = {one.destination: one for one in wanted if one.destination not in taken}
    return [_named(point, str(host.get("VolumeDriver") or "")) for point in unnamed.values()]


def _named(point: MountPoint, driver: str) -> MountPoint:
    """The mount, its volume with a name and a driver."""
    wish = point.volume
    if wish is None:
        return point
    name, chosen = wish.name or ids.new_id(), wish.driver or driver
    return point._replace(volume=wish._replace(name=name, driver=chosen))


def _borrowed(context: Context, text: str) -> list[MountPoint]:
    """The mounts of the container that ``--volumes-from`` names, read-only if it says so."""
    name, _, mode = text.partition(":")
    words = [word for word in mode.split(",") if word]
    if not name or not _FROM_MODES.issuperset(words) or {"ro", "rw"} <= {*words}:
        raise InvalidParameter(
            f"invalid --volumes-from {text!r}",
            resolution="use CONTAINER, CONTAINER:ro or CONTAINER:rw",
        )
    points = points_of(context.store.containers.get(context.resolve(name)))
    points = [point for point in points if point.type != "tmpfs"]
    if "ro" in words or "rw" in words:
        return [point._replace(readonly="ro" in words) for point in points]
    return points


def documents(context: Context, points: Iterable[MountPoint]) -> list[dict[str, Any]]:
    """Docker's ``Mounts`` of a container."""
    return [_document(context, point) for point in points]


def _document(context: Context, point: MountPoint) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Type": point.type,
        "Source": point.source,
        "Destination": point.destination,
        "Mode": point.mode,
        "RW": not point.readonly,
        "Propagation": point.propagation if point.type == "bind" else "",
    }
    wish = point.volume
    if wish is None:
        return shown
    there = context.store.volumes.find(wish.name)
    driver = there.driver if there else wish.driver or "local"
    shown["Source"] = context.volumes.place(there or _volume(wish, ""))
    # A directory of its own in the volume is no volume to others, so it has no name.
    named = {} if wish.replace else {"Name": wish.name, "Driver": driver}
    return {"Type": "volume", **named, **shown}


def _volume(wish: VolumeWish, container_id: str) -> Volume:
    """The volume to be made where there is none."""
    from runengine.linux import clock
    from runengine.store.volumes import ANONYMOUS_LABEL, CREATING, Volume

    labels = {**wish.labels, ANONYMOUS_LABEL: ""} if wish.anonymous else wish.labels
    return Volume(
        wish.name,
        wish.driver or "local",
        clock.now(),
        labels,
        wish.options,
        container_id,
        status=CREATING,
    )


# What is kept of it


def to_documents(points: Iterable[MountPoint]) -> list[dict[str, Any]]:
    """Mounts as the record keeps them: fields with their usual values are left out."""
    found = []
    for point in points:
        document = _changes(point, _DEFAULTS)
        if point.volume is not None:
            document["volume"] = _changes(point.volume, _NO_WISH)
        found.append(document)
    return found


def _changes(values: Any, usual: Any) -> dict[str, Any]:
    pairs = values._asdict().items()
    return {key: value for key, value in pairs if value != getattr(usual, key)}


def points_of(record: Record) -> list[MountPoint]:
    """The mounts that were decided; of records of before volumes, those that the request named."""
    kept = record.details.get("points")
    if kept is None:
        return user_mounts.resolve_all(record.host_config)
    return [_point(document) for document in kept]


def _point(document: dict[str, Any]) -> MountPoint:
    point = _DEFAULTS._replace(**document)
    options = tuple(point.options)
    if point.volume is None:
        return point._replace(options=options)
    wish = _NO_WISH._replace(**document["volume"])
    return point._replace(options=options, volume=wish)


def attach(context: Context, record: Record) -> None:
    """Make what is missing of the volumes and note that the container mounts them."""
    wishes: dict[str, VolumeWish] = {}
    for point in points_of(record):
        if point.volume is not None:
            wishes.setdefault(point.volume.name, point.volume)
    if wishes:
        context.volumes.attach_all(
            record.id,
            [_volume(wish, record.id) for wish in wishes.values()],
            [name for name, wish in wishes.items() if wish.anonymous],
        )


# A run


def bring(
    context: Context, record: Record, points: Sequence[MountPoint], rootfs: str
) -> list[MountPoint]:
    """The mounts with the data of their volumes there. Raises EngineError; ``let_go`` undoes it.

    At the container's first start empty volumes get what the image has at their places.
    """
    names = {point.volume.name for point in points if point.volume is not None}
    if not names:
        return list(points)
    from runengine.mgr.volume import drivers, places

    found = context.store.volumes.get_all(names)
    owners = _owners(record)
    fresh = record.state["StartedAt"] == NEVER or FRESH in record.details
    brought, elsewhere = [], {}
    for number, point in enumerate(points):
        if point.volume is None:
            brought.append(point)
            continue
        volume = found[point.volume.name]
        source = context.volumes.hold(volume, record.id)
        if volume.driver not in drivers.BUILTIN:
            elsewhere[point.destination] = source
        if point.volume.subpath or point.volume.replace:
            fd = places.open_place(source, point.volume, point.destination)
            source = _bind_place(context, record, fd, number)
        if fresh and not point.volume.nocopy and not point.volume.subpath:
            context.volumes.populate(volume, source, rootfs, point.destination, owners)
        brought.append(point._replace(type="bind", source=source))
    _note_sources(context, record, elsewhere)
    if record.details.pop(FRESH, False):
        context.store.containers.set_details(record.id, record.details)
    return brought


def _note_sources(context: Context, record: Record, sources: dict[str, str]) -> None:
    """Let ``inspect`` show where plugins have mounted their volumes, which only they decide."""
    mounts = record.details.get("mounts", ())
    now = [
        {**one, "Source": sources.get(one["Destination"], one["Source"])} for one in mounts
    ]
    if sources and now != mounts:
        record.details["mounts"] = now
        context.store.containers.set_details(record.id, record.details)


def _owners(record: Record) -> Any:
    """From owners as the mounted root shows them to those that a volume keeps."""
    if "userns" not in record.details:
        return None
    from runengine.mgr.container import userns
    from runengine.oci_spec import idmaps

    maps = userns.maps_of(record)
    if maps is None:
        return None

    def inside(uid: int, gid: int) -> tuple[int, int]:
        return idmaps.inside(maps.uids, uid) or 0, idmaps.inside(maps.gids, gid) or 0

    return inside


def _bind_place(context: Context, record: Record, fd: int, number: int) -> str:
    from runengine.linux import libc, mount
    from runengine.mgr.container.context import make_private_directory
    from runengine.mgr.volume import places

    target = f"{places_dir(context, record.id)}/{number}"
    try:
        make_private_directory(places_dir(context, record.id))
        if places.is_directory(fd):
            os.mkdir(target, 0o700)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        flags = mount.MS_BIND | mount.MS_REC
        libc.mount(f"/proc/self/fd/{fd}", target, None, flags, None)
        libc.mount("none", target, None, mount.MS_PRIVATE | mount.MS_REC, None)
    finally:
        os.close(fd)
    return target


def places_dir(context: Context, container_id: str) -> str:
    """Where a run has what it mounts of volumes when that is not their roots."""
    return f"{context.state_dir(container_id)}/volumes"


def must_let_go(context: Context, record: Record) -> bool:
    """Whether a run has volumes that have to be unmounted at its end."""
    names = _volume_names(record)
    if not names:
        return False
    return os.path.isdir(places_dir(context, record.id)) or context.volumes.holds(
        names, record.id
    )


def let_go(context: Context, record: Record) -> None:
    """The run is over: unmount what only it needed. Idempotent."""
    names = _volume_names(record)
    if names:
        release(context, record.id, names)


def release(context: Context, container_id: str, names: Sequence[str]) -> None:
    """The same for a container of which only its id and its volumes are known."""
    from runengine.linux import libc, mount
    from runengine.mgr.container.context import discard_directory

    directory = places_dir(context, container_id)
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with suppress(OSError):  # it is not mounted any more
                libc.umount(f"{directory}/{name}", mount.UMOUNT_NOFOLLOW | mount.MNT_DETACH)
        discard_directory(directory)
    context.volumes.release(names, container_id)


def _volume_names(record: Record) -> list[str]:
    kept = record.details.get("points") or ()
    return list(dict.fromkeys(one["volume"]["name"] for one in kept if "volume" in one))
