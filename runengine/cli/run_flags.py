"""From the flags of ``run``, ``create`` and ``spec`` to a container's configuration.

Everything that the command line alone can decide is decided here, before the engine is asked
for anything: files are read, and flags that contradict each other are refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runengine import model
from runengine.cli import client_config, env_files, run_network
from runengine.cli.flags import arguments
from runengine.cli.run_table import (
    CONFIG_FIELDS,
    HEALTH_FIELDS,
    HOST_FIELDS,
)
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.model import (
        ContainerConfig,
        EndpointConfig,
        ExecCpuAffinity,
        HealthConfig,
        HostConfig,
    )

PULL_POLICIES = ("always", "missing", "never", "newer")
SCRATCH = {
    "/run": "exec,mode=755",
    "/tmp": "exec,mode=1777",  # noqa: S108
    "/var/tmp": "exec,mode=1777",  # noqa: S108
}
"""Where programs write, whatever they are: ``--read-only-tmpfs``, as Podman has it."""
MAX_PROFILE_BYTES = 4 << 20


class Request(NamedTuple):
    """What a command line asks for."""

    config: ContainerConfig
    host: HostConfig
    endpoints: dict[str, EndpointConfig]
    """What is wanted on each network, the container's first one in front."""
    name: str | None
    platform: str | None
    replace: bool
    """A container that has the name goes first."""
    pull: str
    quiet: bool
    detach: bool
    sig_proxy: bool
    detach_keys: bytes
    warnings: tuple[str, ...]


def build(params: Mapping[str, Any]) -> Request:
    """The request behind parsed flags. Raises EngineError; nothing was done then."""
    config = _config(params)
    host = _host(params)
    _watch(params, config, host)
    config["Volumes"] = _set_mounts(params, host)
    endpoints, warnings = run_network.apply(params, config, host)
    _check_conflicts(config, host)
    return Request(
        config,
        host,
        endpoints,
        params["name"] or None,
        _platform(params["platform"]),
        _replaces(params),
        pull_policy(params["pull"]),
        params["quiet"],
        params.get("detach", False),
        params.get("sig_proxy", True),
        detach_keys(params["detach_keys"]),
        (*warnings, *_discarded(params)),
    )


def detach_keys(text: str | None) -> bytes:
    """The detach keys of a command line; none given: the user's. Raises InvalidParameter."""
    from runengine.monitor import detach

    text = client_config.text_of("detachKeys") if text is None else text
    return detach.DEFAULT if text is None else detach.parse(text)


def _discarded(params: Mapping[str, Any]) -> list[str]:
    """What is said of flags that no kernel of today can honour."""
    from runengine.cgroups import limits

    return [limits.KERNEL_MEMORY_WARNING] if params["kernel_memory"] else []


def _replaces(params: Mapping[str, Any]) -> bool:
    if params["replace"] and not params["name"]:
        raise InvalidParameter("--replace needs --name: it is what is replaced")
    return bool(params["replace"])


def pull_policy(text: str) -> str:
    """When to pull. Raises InvalidParameter."""
    if text not in PULL_POLICIES:
        raise InvalidParameter(
            f"invalid pull option: {text!r}", resolution=f"one of {', '.join(PULL_POLICIES)}"
        )
    return text


def _platform(text: str | None) -> str | None:
    if not text:
        return None
    from runengine.registry.platform import Platform

    Platform.parse(text)
    return text


# The container's own configuration


def _config(params: Mapping[str, Any]) -> ContainerConfig:
    config = model.container_config(_image_name(params["image"]))
    fields: dict[str, Any] = dict(config)
    for name, field in CONFIG_FIELDS.items():
        if params[name] is not None:
            fields[field] = params[name]
    config.update(fields)  # type: ignore[typeddict-item]
    _set_streams(params, config)
    config["Tty"] = params["tty"]
    config["Env"] = client_config.beside(
        env_files.environment(params["env"], params["env_file"])
    )
    config["Labels"] = env_files.labels(params["label"], params["label_file"])
    config["Cmd"] = arguments(params["command"]) or None
    if params["entrypoint"] is not None:
        # As with Docker an empty one clears the image's.
        config["Entrypoint"] = [params["entrypoint"]]
    config["Healthcheck"] = _health_check(params)
    if config["StopTimeout"] is not None and config["StopTimeout"] < -1:
        raise InvalidParameter(
            f"invalid --stop-timeout {config['StopTimeout']}", resolution="-1 waits for ever"
        )
    return config


def _health_check(params: Mapping[str, Any]) -> HealthConfig | None:
    given = {field: params[name] for name, field in HEALTH_FIELDS.items() if params[name]}
    if params["no_healthcheck"]:
        if given or params["health_cmd"]:
            raise InvalidParameter("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for name, field in HEALTH_FIELDS.items():
        if given.get(field, 0) < 0:
            raise InvalidParameter(f"--{name.replace('_', '-')} cannot be negative")
    if params["health_cmd"]:
        given["Test"] = ["CMD-SHELL", params["health_cmd"]]
    return cast("HealthConfig", given) if given else None


def _image_name(text: str) -> str:
    if not text.strip():
        raise InvalidParameter("invalid reference format: the image's name is empty")
    return text


def _set_streams(params: Mapping[str, Any], config: ContainerConfig) -> None:
    attach = set(params["attach"])
    if params.get("detach"):
        if attach:
            raise InvalidParameter(
                "conflicting options: cannot specify both --attach and --detach"
            )
        attach = {"none"}
    config["OpenStdin"] = params["interactive"]
    config["AttachStdin"] = "stdin" in attach or (params["interactive"] and not attach)
    config["AttachStdout"] = "stdout" in attach or not attach
    config["AttachStderr"] = "stderr" in attach or not attach
    # An attached client's end of input is then the container's.
    config["StdinOnce"] = config["OpenStdin"] and config["AttachStdin"]


# The host's side


def _host(params: Mapping[str, Any]) -> HostConfig:
    host = model.host_config()
    fields: dict[str, Any] = {}
    for name, field in HOST_FIELDS.items():
        value = params[name]
        if value is None or value == () or value is False:
            continue
        fields[field] = list(value) if isinstance(value, tuple) else value
    if "Annotations" in fields:
        fields["Annotations"] = _pairs(fields["Annotations"], "annotation")
    host.update(fields)  # type: ignore[typeddict-item]
    if params["memory_swappiness"] != -1:
        host["MemorySwappiness"] = params["memory_swappiness"]
    host["RestartPolicy"] = params["restart"] or host["RestartPolicy"]
    host["Sysctls"] = dict(params["sysctl"])
    _set_maps(params, host)
    _set_quota(params, host)
    _set_devices(params, host)
    # The last one of a name wins.
    host["Ulimits"] = list({limit["Name"]: limit for limit in params["ulimit"]}.values())
    host["ExtraHosts"] = list(params["add_host"])
    wanted = exec_cpu_affinity(params["exec_cpu_affinity"])
    if wanted:
        host["ExecCPUAffinity"] = wanted
    _set_log(params, host)
    _set_security(params["security_opt"], host)
    return host


def exec_cpu_affinity(given: tuple[dict[str, str], ...]) -> ExecCpuAffinity | None:
    """What the flag says, however often it is there: the last word counts."""
    if not given:
        return None
    fields = {"Initial": "", "Final": ""}
    for one in given:
        fields |= one
    return cast("ExecCpuAffinity", fields)


def _set_maps(params: Mapping[str, Any], host: HostConfig) -> None:
    if params["uidmap"] or params["gidmap"]:
        host["IDMappings"] = {"UidMap": list(params["uidmap"]), "GidMap": list(params["gidmap"])}
        host["UsernsMode"] = host["UsernsMode"] or "private"


def _set_quota(params: Mapping[str, Any], host: HostConfig) -> None:
    from runengine.oci_spec import disk_quota

    quota, quota_id = disk_quota.parse_flags(params["disk_quota"])
    if params["quota_id"] is not None:
        quota_id = str(params["quota_id"])
    if quota:
        host["DiskQuota"] = quota
    if quota_id not in ("", "0"):
        host["QuotaId"] = quota_id
    if params["storage_opt"]:
        host["StorageOpt"] = _pairs(list(params["storage_opt"]), "storage option")
    disk_quota.check(host)


def _set_devices(params: Mapping[str, Any], host: HostConfig) -> None:
    """Paths go to one list, CDI names together with ``--gpus`` to the other, as in Docker."""
    host["Devices"] = [one for one in params["device"] if not isinstance(one, str)]
    requests = list(params["gpus"])
    names = [one for one in params["device"] if isinstance(one, str)]
    if names:
        from runengine.oci_spec import cdi

        requests.append(cdi.request(names))
    host["DeviceRequests"] = requests or None


def _pairs(items: list[str], what: str) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, _, value = item.partition("=")
        if not key:
            raise InvalidParameter(f"invalid {what} {item!r}", resolution="use KEY=VALUE")
        pairs[key] = value
    return pairs


def _set_log(params: Mapping[str, Any], host: HostConfig) -> None:
    options = {}
    for item in params["log_opt"]:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise InvalidParameter(f"invalid log option {item!r}", resolution="use KEY=VALUE")
        options[key] = value
    host["LogConfig"] = {"Type": params["log_driver"] or "", "Config": options}
    if params["log_driver"] == "none" and options:
        raise InvalidParameter("invalid logging opts for driver none: it takes no --log-opt")


def _watch(params: Mapping[str, Any], config: ContainerConfig, host: HostConfig) -> None:
    """Whoever stays to see the output must get it, and the log may not take it all."""
    stays = "detach" in params and (config["AttachStdout"] or config["AttachStderr"])
    log = host["LogConfig"]
    if stays and log["Type"] == "passthrough":
        raise InvalidParameter(
            "conflicting options: with --log-driver passthrough there is nothing to attach to",
            resolution="use -d and look at the logs, or --log-driver none",
        )
    if stays and host.get("Profile") and not (log["Type"] or log["Config"]):
        log["Type"] = "none"


def _set_mounts(params: Mapping[str, Any], host: HostConfig) -> dict[str, dict[str, Any]]:
    """What is mounted; returns the anonymous volumes, which are the container's own matter."""
    from runengine.oci_spec import mounts, user_mounts

    volumes: dict[str, dict[str, Any]] = {}
    for text in params["volume"]:
        source, colon, rest = text.partition(":")
        bind = f"{_local_path(source)}:{rest}" if colon else source
        point = mounts.parse_bind(bind)
        if colon:
            host["Binds"].append(bind)
        else:
            volumes[point.destination] = {}
    for text in params["mount"]:
        mount = mounts.parse_mount(text)
        if mount["Type"] == "bind" and mount.get("Source"):
            mount["Source"] = _local_path(mount["Source"])
        mounts.resolve_mount(mount)
        host["Mounts"].append(mount)
    host["Tmpfs"] = dict(mounts.parse_tmpfs(text) for text in params["tmpfs"])
    host["VolumesFrom"] = list(params["volumes_from"])
    if params["volume_driver"]:
        host["VolumeDriver"] = params["volume_driver"]
    if params["read_only"] and params["read_only_tmpfs"]:
        taken = {*volumes, *(point.destination for point in user_mounts.resolve_all(host))}
        host["Tmpfs"] |= {path: how for path, how in SCRATCH.items() if path not in taken}
    return volumes


def _local_path(source: str) -> str:
    """A source that begins with a dot is relative to where the caller is, as for a shell."""
    first = source.split("/", 1)[0]
    return os.path.abspath(source) if first in (".", "..") else source  # noqa: PTH100


def _set_security(options: tuple[str, ...], host: HostConfig) -> None:
    from runengine.oci_spec import security_opt

    kept, names = [], ("", security_opt.DEFAULT, security_opt.UNCONFINED)
    for option in options:
        parsed = security_opt.parse([option])
        if parsed.systempaths_unconfined:
            host["MaskedPaths"] = []
            host["ReadonlyPaths"] = []
        elif parsed.seccomp not in names:
            kept.append(f"seccomp={_profile(parsed.seccomp)}")
        else:
            kept.append(option)
    host["SecurityOpt"] = kept


def _profile(source: str) -> str:
    """A seccomp profile as compact JSON: the file is the caller's, the engine gets its text."""
    import json

    text = source
    if not source.lstrip().startswith("{"):
        try:
            with open(source, "rb") as file:  # noqa: PTH123
                text = file.read(MAX_PROFILE_BYTES).decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidParameter(
                f"opening seccomp profile ({source}) failed: {reason}"
            ) from None
    shown = source if text is not source else "given inline"
    try:
        compact = json.dumps(json.loads(text), separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"seccomp profile ({shown}) is not JSON: {error}") from None
    # Here, where its name is known.
    from runengine.oci_spec import seccomp_profile

    seccomp_profile.check(compact, f"({shown})")
    return compact


def _check_conflicts(config: ContainerConfig, host: HostConfig) -> None:
    if host["AutoRemove"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise InvalidParameter("conflicting options: cannot specify both --restart and --rm")
    if host["UTSMode"] == "host" and (config["Hostname"] or config["Domainname"]):
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if host["NanoCpus"] and (host["CpuQuota"] or host["CpuPeriod"]):
        raise InvalidParameter(
            "conflicting options: --cpus cannot be used with --cpu-period or --cpu-quota"
        )
