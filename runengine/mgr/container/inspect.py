"""``inspect``: everything about one container, in Docker's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.linux import kernel
from runengine.mgr.container import health, observe, pending
from runengine.mgr.container.listing import command_words
from runengine.mgr.network import settings
from runengine.oci_spec import apparmor, security_opt

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.model import HostConfig
    from runengine.store.containers import Record, State


def inspect(context: Context, record: Record, *, size: bool) -> dict[str, Any]:
    """Docker's ``/containers/{id}/json``; ``ExitCode`` is null where nobody saw the exit."""
    data_dir = context.data_dir(record.id)
    state = pending.look(context, record)
    words = command_words(record)
    details = record.details
    document: dict[str, Any] = {
        "Id": record.id,
        "Created": record.created_at,
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": state_document(state),
        "Image": record.image_id,
        "ResolvConfPath": details.get("network_files", {}).get("/etc/resolv.conf", ""),
        "HostnamePath": details.get("network_files", {}).get("/etc/hostname", ""),
        "HostsPath": details.get("network_files", {}).get("/etc/hosts", ""),
        "LogPath": details["log"]["path"],
        "Name": f"/{record.name}",
        "RestartCount": record.restarts.times,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": _apparmor_profile(record),
        "ExecIDs": [one.id for one in context.store.execs.of(record.id)] or None,
        "HostConfig": _host_config(record),
        "GraphDriver": {"Name": "overlay", "Data": _layer_dirs(context, record, state)},
        "Mounts": details.get("mounts", []),
        "Config": record.config,
        "NetworkSettings": settings.network_settings(
            context, record, state, live=observe.is_live(state)
        ),
        "Runengine": {
            "Cgroup": details.get("cgroup", {}),
            "Log": details["log"],
            "Boot": state["BootId"],
            "Desired": record.desired,
            "Seccomp": details.get("seccomp", ""),
            "DataDir": data_dir,
        },
    }
    if details.get("hooks"):
        document["Runengine"]["Hooks"] = details["hooks"]
    if observe.is_live(state):
        from runengine.mgr.container import confined

        document["Runengine"] |= confined.documents(record, state)
    checked = health.document(context, record, state)
    if checked is not None:
        document["State"]["Health"] = checked
    if size:
        from runengine.mgr.container import sizes

        found = sizes.of_container(context, record)
        document["SizeRw"], document["SizeRootFs"] = found.written_bytes, found.whole_bytes
        document["Runengine"]["InodesRw"] = found.inodes
    return document


def _host_config(record: Record) -> HostConfig:
    """As it is kept, but for links, which Docker shows with both containers' names."""
    host = record.host_config
    if not host.get("Links"):
        return host
    pairs = [text.removeprefix("/").partition(":") for text in host["Links"] or ()]
    shown = [f"/{target}:/{record.name}/{alias or target}" for target, _, alias in pairs]
    return {**host, "Links": shown}


def _apparmor_profile(record: Record) -> str:
    """What the kernel confines it to; empty where it does not do that at all."""
    if not kernel.probe().apparmor:
        return ""
    return security_opt.apparmor_of(record.host_config, apparmor.PROFILE_NAME)


def state_document(state: State) -> dict[str, Any]:
    """Docker's ``State``, with the account of the last run beside it."""
    status = state["Status"]
    return {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": state["OOMKilled"],
        "Dead": status == "removing",
        "Pid": state["Pid"],
        "ExitCode": state["ExitCode"],
        "Error": state["Error"],
        "StartedAt": state["StartedAt"],
        "FinishedAt": state["FinishedAt"],
        "Signal": state["Signal"],
        "CpuNs": state["CpuNs"],
        "MemoryPeakBytes": state["MemoryPeakBytes"],
        "OOMKills": state.get("OOMKills"),
    }


def _layer_dirs(context: Context, record: Record, state: State) -> dict[str, str]:
    data_dir = context.data_dir(record.id)
    lowers = [f"{context.paths.layers}/{key}/diff" for key in reversed(record.layers)]
    return {
        "LowerDir": ":".join(lowers),
        "UpperDir": f"{data_dir}/upper",
        "WorkDir": f"{data_dir}/work",
        "MergedDir": f"{data_dir}/merged" if observe.is_live(state) else "",
    }
