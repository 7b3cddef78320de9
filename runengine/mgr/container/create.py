"""``create``: check everything, then make the record and its directories, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine import ids
from runengine.errors import InvalidParameter
from runengine.linux import clock
from runengine.mgr.container.context import make_private_directory
from runengine.mgr.container.discard import forget_half_made
from runengine.store.containers import Record, created_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runengine.cgroups.limits import Checked
    from runengine.mgr.container.context import Context
    from runengine.model import ContainerConfig, EndpointConfig, HostConfig
    from runengine.monitor.protocol import LogSpec
    from runengine.store.containers import State
    from runengine.store.images import StoredImage
    from runengine.store.network_types import WantedEndpoint


class Created(NamedTuple):
    """What create made; ``warnings`` name the options that this kernel cannot honour."""

    id: str
    name: str
    warnings: list[str]


class Plan(NamedTuple):
    """A checked request: nothing has been made yet."""

    image: StoredImage
    config: ContainerConfig
    host: HostConfig
    details: dict[str, Any]
    warnings: list[str]
    wanted: list[WantedEndpoint]
    """What it is to have on each of its networks."""

    def record(self, container_id: str, name: str) -> Record:
        """The record of a container that was never started."""
        return Record(
            container_id,
            name,
            self.image.image_id,
            clock.now(),
            self.config,
            self.host,
            self.details,
            self.image.layers,
            created_state(),
        )


def create(
    context: Context,
    name: str | None,
    config: ContainerConfig,
    host: HostConfig,
    *,
    endpoints: Mapping[str, EndpointConfig] | None = None,
    specific_id: str | None = None,
) -> Created:
    """Make a container that is ready to start.

    ``endpoints`` has what is wanted on each network, by its name. Raises InvalidParameter,
    NotFound (image, network), AlreadyExists (name or id), Unsupported.
    """
    began_ns = time.monotonic_ns()
    container_id = _choose_id(specific_id)
    chosen = ids.check_name(name) if name is not None else _free_name(context, container_id)
    from runengine.mgr.image.garbage import in_use

    # Held until the record pins the layers: a sweep in between would take them away.
    with in_use(context.paths):
        plan = make_plan(context, container_id, chosen, config, host, endpoints or {})
        record = install(context, plan.record(container_id, chosen), plan.wanted)
    context.events.container("create", record, began_ns=began_ns)
    return Created(container_id, chosen, plan.warnings)


def install(
    context: Context,
    record: Record,
    wanted: Sequence[WantedEndpoint],
    fill: Callable[[Record], State] | None = None,
) -> Record:
    """Make a container of a record that is decided, or nothing of it; returns it as it then is.

    ``fill`` puts files into its directories and says what state it has. Raises AlreadyExists.
    """
    half_made = record._replace(state={**record.state, "Status": "creating"})
    with _identified(context, half_made) as named:
        return _make(context, named, wanted, fill or (lambda _: created_state()))


@contextlib.contextmanager
def _identified(context: Context, record: Record) -> Iterator[Record]:
    """The record with what only one container has: ids in its user namespace, a level, a quota.

    They are its own once it is added.
    """
    from runengine.linux import kernel

    host, details = record.host_config, dict(record.details)
    with contextlib.ExitStack() as stack:
        if host["UsernsMode"] not in ("", "host"):
            from runengine.mgr.container import userns

            details |= stack.enter_context(userns.chosen(context, host))
        if kernel.probe().selinux:
            from runengine.linux import selinux
            from runengine.mgr.container import labels

            details |= stack.enter_context(labels.chosen(context, host, selinux.policy()))
        if host.get("DiskQuota") or host.get("StorageOpt"):
            from runengine.mgr.container import disk_quota

            details |= stack.enter_context(disk_quota.chosen(context, record))
        yield record._replace(details=details)


def _choose_id(specific_id: str | None) -> str:
    if specific_id is None:
        return ids.new_id()
    if not ids.is_id(specific_id):
        raise InvalidParameter(f"invalid container id {specific_id!r}: expected 64 hex digits")
    return specific_id


def _free_name(context: Context, container_id: str) -> str:
    """The first window of six digits of the id that is nobody's name."""
    windows = (container_id[start : start + 6] for start in range(len(container_id) - 5))
    free = (window for window in windows if context.store.containers.id_of_name(window) is None)
    return next(free, container_id)


def make_plan(
    context: Context,
    container_id: str,
    name: str,
    config: ContainerConfig,
    host: HostConfig,
    endpoints: Mapping[str, EndpointConfig],
) -> Plan:
    """Merge the image's settings, check every option, and decide what create decides."""
    from runengine.cgroups import layout
    from runengine.linux import kernel, rlimits
    from runengine.mgr.container import policy
    from runengine.mgr.network import wishes
    from runengine.oci_spec import merge, validate

    policy.check(host["RestartPolicy"])
    if host.get("Profile"):
        from runengine.mgr.container import profiles

        config, host, endpoints = profiles.apply(config, host, endpoints)
    image = context.images.lookup(config["Image"])
    document = json.loads(image.config)
    merged = merge.merge_image(config, document.get("config") or {})
    host = _with_defaults(context, host)
    wished = wishes.check(context, merged, host, endpoints)
    host = {**host, "NetworkMode": wished.mode}
    host, warnings = validate.discard_unsupported(host, kernel.probe())
    validate.check(merged, host, kernel.probe(), rlimits.hard_limits())
    _check_runtime(context, host["Runtime"])
    checked = _with_limits(context, host)
    host = checked.host
    cgroups_path = _cgroups_path(context, host, container_id)
    cgroup = layout.cgroup_dirs(cgroups_path)
    systemd = _starts_systemd(merged, host, cgroup, checked.warnings)
    log, log_dir = log_of(context, container_id, name, merged, image.image_id, host)
    if log["driver"] == "passthrough" and merged["Tty"]:
        raise InvalidParameter(
            "log driver 'passthrough' does not go with a terminal",
            resolution="leave -t out, or use another log driver",
        )
    details = {
        "hostname": merged["Hostname"] or container_id[: ids.SHORT_ID_LENGTH],
        "architecture": document.get("architecture") or "",
        "log": log,
        "log_dir": log_dir,
        "cgroup_driver": context.config.cgroup_driver,
        "cgroups_path": cgroups_path,
        "cgroup": cgroup,
        **({"systemd": True} if systemd else {}),
        **_mounts(context, merged, host),
    }
    return Plan(image, merged, host, details, warnings + checked.warnings, wished.wanted)


def log_of(
    context: Context,
    container_id: str,
    name: str,
    config: ContainerConfig,
    image_id: str,
    host: HostConfig,
) -> tuple[LogSpec, str | None]:
    """Where a container's output goes, and the directory for it outside of the container's own."""
    from runengine.mgr.log_options import Subject, log_spec

    subject = Subject(
        container_id,
        name=name,
        image=config["Image"],
        image_id=image_id,
        labels=config["Labels"],
        env=config["Env"],
    )
    return log_spec(host["LogConfig"], context.data_dir(container_id), container_id, subject)


def _with_limits(context: Context, host: HostConfig) -> Checked:
    """The configuration with its limits complete, and checked against this host."""
    from runengine.cgroups import features, limits, machine

    able, found = features.probe(), machine.probe()
    if host.get("NumaNode"):
        from runengine.cgroups import numa

        host = numa.bind(host, able, found, numa.read())
    wanted = host.get("ExecCPUAffinity")
    if wanted:
        from runengine.mgr.container import affinity

        affinity.check(wanted, host, found)
        affinity.decide_for(context, wanted, host["Runtime"])
    least = context.config.min_memory_bytes
    checked = limits.check(host, able, min_memory_bytes=least, machine=found)
    if host.get("Profile"):
        from runengine.mgr.container import profiles
        from runengine.mgr.container.runtime import abilities

        checked.warnings.extend(profiles.warnings(host, abilities(context, host["Runtime"])))
    return checked


def _with_defaults(context: Context, host: HostConfig) -> HostConfig:
    """The host configuration with the engine's defaults where the request says nothing."""
    settings = context.config
    log: Any = {
        "Type": host["LogConfig"]["Type"] or settings.log_driver,
        "Config": host["LogConfig"]["Config"]
        or (settings.log_opts if not host["LogConfig"]["Type"] else {}),
    }
    return {
        **host,
        "LogConfig": log,
        "Runtime": host["Runtime"] or settings.default_runtime,
        "IpcMode": host["IpcMode"] or "private",
        "UsernsMode": host["UsernsMode"] or settings.userns,
    }


def _cgroups_path(context: Context, host: HostConfig, container_id: str) -> str:
    from runengine.cgroups import layout, slices

    driver = context.config.cgroup_driver
    if driver == layout.SYSTEMD:
        slices.require_systemd()
    parents = host["CgroupParent"], context.config.cgroup_parent
    return layout.container_path(*parents, container_id, driver)


def _starts_systemd(
    config: ContainerConfig, host: HostConfig, cgroup: dict[str, str], warnings: list[str]
) -> bool:
    """Whether process 1 is systemd; if so, what nobody says about it is decided.

    Raises InvalidParameter, and Unsupported for one that was asked for and could not boot.
    """
    command = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
    mode = host.get("Systemd", "")
    # Of all other commands this is all that it costs.
    if not mode and not (command and command[0].endswith(("systemd", "/init"))):
        return False
    from runengine.linux import kernel
    from runengine.oci_spec import systemd

    if not systemd.is_wanted(mode, command):
        return False
    obstacle = systemd.obstacle(host, kernel.probe(), cgroup)
    if obstacle is None:
        systemd.decide(config, host)
        return True
    if mode == systemd.ALWAYS:
        raise obstacle
    if not host["Init"]:
        warnings.append(f"no provision for systemd: {obstacle.brief}")
    return False


def _check_runtime(context: Context, name: str) -> None:
    if name not in context.config.runtimes:
        known = ", ".join(sorted(context.config.runtimes))
        raise InvalidParameter(
            f"unknown runtime {name}",
            resolution=f"known: {known}; others are named in the configuration file",
        )


def _mounts(
    context: Context, config: ContainerConfig, host: HostConfig
) -> dict[str, list[dict[str, Any]]]:
    """What is to be mounted: as ``inspect`` shows it, and as a start needs it."""
    from runengine.mgr.container import volumes
    from runengine.oci_spec import destinations

    points = volumes.plan(context, config, host)
    for point in points:
        destinations.check(point)
    return {
        "mounts": volumes.documents(context, points),
        "points": volumes.to_documents(points),
    }


def _make(
    context: Context,
    record: Record,
    wanted: Sequence[WantedEndpoint],
    fill: Callable[[Record], State],
) -> Record:
    from runengine.mgr.container import volumes

    with context.reserved(record.id):
        try:
            context.store.containers.add(record)
        except BaseException:
            _drop_unless_owned(context, record)
            raise
        try:
            _make_directories(context, record)
            if record.details["points"]:
                volumes.attach(context, record)
            if wanted:
                context.networks.want(record.id, wanted)
            state = fill(record)
            context.store.containers.set_state(record.id, state)
        except BaseException:
            forget_half_made(context, record)
            raise
    return record._replace(state=state)


def _drop_unless_owned(context: Context, record: Record) -> None:
    """The name or id was taken: our lock directory goes, unless it is the id's owner's."""
    from runengine.mgr.container.context import discard_directory

    if context.find(record.id) is None:
        discard_directory(context.state_dir(record.id))


def _make_directories(context: Context, record: Record) -> None:
    data_dir = context.data_dir(record.id)
    make_private_directory(f"{data_dir}/merged")
    if record.details["log_dir"]:
        make_private_directory(record.details["log_dir"])
    make_layer(context, record, data_dir)


def make_layer(context: Context, record: Record, directory: str) -> None:
    """A writable layer; its root looks like the image's, since overlay shows the upper's."""
    for name in ("upper", "work"):
        os.makedirs(f"{directory}/{name}", mode=0o700, exist_ok=True)
    lowers = context.images.layer_paths(record.layers)
    top = os.stat(lowers[-1]) if lowers else None
    if "quota" in record.details:
        from runengine.mgr.container import disk_quota

        disk_quota.claim_layer(record, directory)
    os.chown(f"{directory}/upper", top.st_uid if top else 0, top.st_gid if top else 0)
    os.chmod(f"{directory}/upper", top.st_mode & 0o7777 if top else 0o755)
