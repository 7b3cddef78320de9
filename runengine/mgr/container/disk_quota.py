"""What a container's own files and its volumes may take up on the disk.

Each budget is a project of the filesystem's quota. Its id is chosen at create, given limits at
once, so that it is nobody else's, and noted in the record. Files of the container are the
project's from the start; volumes that are in no project yet come to it when they are mounted, and
leave it when the container is removed.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Conflict, EngineError, InvalidParameter
from runengine.oci_spec import disk_quota
from runengine.oci_spec.disk_quota import ALLOCATE, ROOT, Budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runengine.mgr.container.context import Context
    from runengine.model import HostConfig
    from runengine.oci_spec.mounts import MountPoint
    from runengine.rootfs.quota import Limits
    from runengine.store.containers import Record

DETAIL = "quota"
"""Key of the projects in a record's details."""


class Project(NamedTuple):
    """A budget as the record keeps it."""

    project: int
    paths: Sequence[str]
    size_bytes: int
    inodes: int


@contextmanager
def chosen(context: Context, record: Record) -> Iterator[dict[str, Any]]:
    """What the details of a new container's record say of its budgets; their limits hold already.

    While the block runs the record is to be added. Raises Unsupported where the filesystem has no
    project quota, InvalidParameter.
    """
    from runengine.rootfs import quota

    budgets = disk_quota.budgets(record.host_config, _volume_places(record))
    with _Changes(context.paths.root) as changes:
        # No longer than that: volumes with limits of their own may be made meanwhile.
        with quota.reserving(context.paths.root):
            made = [_make(record, budget, changes) for budget in budgets]
        yield {DETAIL: [project._asdict() for project in made]} if made else {}


class _Changes:
    """Limits of projects, which are put back if the block fails."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._before: list[tuple[int, Limits]] = []

    def set_limits(self, project: int, size_bytes: int, inodes: int) -> None:
        """Limit a project. Raises Unsupported, InvalidParameter."""
        from runengine.rootfs import quota

        found = quota.account(self.root, project)
        self._before.append((project, quota.Limits(found.limit_bytes, found.limit_inodes)))
        quota.set_limits(self.root, project, quota.Limits(size_bytes, inodes))

    def __enter__(self) -> _Changes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        from runengine.rootfs import quota

        for project, limits in reversed(self._before if kind else ()):
            with suppress(EngineError):
                quota.set_limits(self.root, project, limits)


def _volume_places(record: Record) -> list[str]:
    from runengine.mgr.container import volumes

    return [point.destination for point in volumes.points_of(record) if point.volume is not None]


def _make(record: Record, budget: Budget, changes: _Changes) -> Project:
    """The budget's project, limited. Another container's may be shared by naming its id."""
    from runengine.rootfs import quota

    wanted = disk_quota.quota_id(record.host_config)
    project = wanted if wanted not in (0, ALLOCATE) else quota.free_project(changes.root)
    changes.set_limits(project, budget.size_bytes, budget.inodes)
    return Project(project, budget.paths, budget.size_bytes, budget.inodes)


def projects_of(record: Record) -> list[Project]:
    """The container's budgets."""
    return [Project(**document) for document in record.details.get(DETAIL, ())]


def claim_layer(record: Record, directory: str) -> None:
    """Make a writable layer its budget's, if it has one. Raises Unsupported."""
    from runengine.rootfs import quota

    for project in projects_of(record):
        if ROOT in project.paths:
            for name in ("upper", "work"):
                quota.assign(f"{directory}/{name}", project.project)


def claim_volumes(record: Record, points: Sequence[MountPoint]) -> None:
    """Make volumes that a run mounts their budgets'; not those that others have limited."""
    from runengine.rootfs import quota

    projects = {path: one.project for one in projects_of(record) for path in one.paths}
    for point in points:
        project = projects.get(point.destination)
        if not project or point.volume is None or not os.path.isdir(point.source):
            continue
        if not quota.project_of(point.source):
            quota.assign(point.source, project)


def release(context: Context, record: Record) -> None:
    """The container is being removed: its volumes are limited no more, its ids are free."""
    from runengine.rootfs import quota

    mine = {project.project for project in projects_of(record)}
    if not mine:
        return
    with quota.reserving(context.paths.root):
        shared = {
            document["project"]
            for documents in _of_others(context, record)
            for document in documents
        }
        for project in mine - shared:
            _free_volumes(context, record, project)
            with suppress(EngineError):  # it was switched off meanwhile
                _lift(context, project)


def _of_others(context: Context, record: Record) -> Iterator[list[dict[str, Any]]]:
    for other in context.store.containers.all():
        if other.id != record.id:
            yield other.details.get(DETAIL, [])


def _free_volumes(context: Context, record: Record, project: int) -> None:
    from runengine.mgr.container import volumes
    from runengine.rootfs import quota

    for point in volumes.points_of(record):
        if point.volume is None:
            continue
        with suppress(EngineError, OSError):  # it went with the container
            path = context.volumes.place(context.store.volumes.get(point.volume.name))
            if quota.project_of(path) == project:
                quota.assign(path, 0)


def _lift(context: Context, project: int) -> None:
    from runengine.rootfs import quota

    quota.set_limits(context.paths.root, project, quota.Limits())


@contextmanager
def changed(context: Context, record: Record, wanted: Mapping[str, str]) -> Iterator[Record]:
    """The record with new sizes for ``wanted`` places, which hold at once, also while it runs.

    They are taken back if the block fails. Raises InvalidParameter, Conflict, Unsupported.
    """
    from runengine.rootfs import quota

    host = _merged(record.host_config, wanted)
    budgets = disk_quota.budgets(host, _volume_places(record))
    before = {frozenset(one.paths): one for one in projects_of(record)}
    for budget in budgets:
        _refuse_regrouping(budget, before)
    after = dict(before)
    with _Changes(context.paths.root) as changes:
        with quota.reserving(context.paths.root):
            for budget in budgets:
                places = frozenset(budget.paths)
                after[places] = _resized(record, budget, before.get(places), changes)
        details = {**record.details, DETAIL: [one._asdict() for one in after.values()]}
        new = record._replace(host_config=host, details=details)
        if any(ROOT in places for places in after.keys() - before.keys()):
            claim_layer(new, context.data_dir(record.id))
        context.store.containers.set_details(record.id, details)
        try:
            yield new
        except BaseException:
            context.store.containers.set_details(record.id, record.details)
            raise


def _merged(host: HostConfig, wanted: Mapping[str, str]) -> HostConfig:
    """The configuration with the sizes of these places, checked as a whole."""
    options = host.get("StorageOpt") or {}
    merged = host.copy()
    if options:
        if set(wanted) - {ROOT, disk_quota.EVERYTHING}:
            raise InvalidParameter(
                "--disk-quota: the container was made with --storage-opt",
                resolution="give a size for its own files only: /=SIZE",
            )
        merged["StorageOpt"] = {**options, "size": next(iter(wanted.values()))}
    else:
        merged["DiskQuota"] = {**(host.get("DiskQuota") or {}), **wanted}
        if disk_quota.EVERYTHING in wanted and not host.get("DiskQuota"):
            merged["QuotaId"] = str(ALLOCATE)
    disk_quota.check(merged)
    return merged


def _refuse_regrouping(budget: Budget, before: Mapping[frozenset[str], Project]) -> None:
    """What shares a budget goes on to do so: files would have to change hands in a live tree."""
    for places in before:
        if places != frozenset(budget.paths) and places & set(budget.paths):
            raise Conflict(
                f"--disk-quota: {', '.join(sorted(places))} have one budget already",
                resolution="name them as they were named when the container was made",
            )


def _resized(
    record: Record, budget: Budget, old: Project | None, changes: _Changes
) -> Project:
    if old is None:
        return _make(record, budget, changes)
    inodes = budget.inodes or old.inodes
    changes.set_limits(old.project, budget.size_bytes, inodes)
    return Project(old.project, old.paths, budget.size_bytes, inodes)
