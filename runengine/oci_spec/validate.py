"""Checks of a configuration that need nothing but itself: done first, before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter
from runengine.oci_spec import (
    capabilities,
    destinations,
    devices,
    disk_quota,
    gpus,
    namespaces,
    network_files,
    seccomp,
    security_opt,
    selinux,
    sysctls,
    ulimits,
    user_mounts,
    workdir,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.linux.kernel import Kernel
    from runengine.model import ContainerConfig, HealthConfig, HostConfig

_HEALTH_TIMES = frozenset(("Interval", "Timeout", "StartPeriod", "StartInterval"))
_HEALTH_LEAST_NS = 1_000_000


class Discarded(NamedTuple):
    """A host configuration without what this kernel lacks, and what the user must hear."""

    host: HostConfig
    warnings: list[str]


def discard_unsupported(host: HostConfig, kernel: Kernel) -> Discarded:
    """Drop the security options that this kernel cannot honour, each with a warning."""
    lacking = {
        "seccomp": not kernel.seccomp,
        "apparmor": not kernel.apparmor,
        "label": not kernel.selinux,
    }
    kept, warnings = [], []
    for text in host["SecurityOpt"]:
        key, _, value = text.replace(":", "=", 1).partition("=")
        if lacking.get(key) and value not in ("", security_opt.UNCONFINED, "disable"):
            name = "SELinux labels" if key == "label" else key
            warnings.append(
                f"Current Kernel does not support {name}, discard --security-opt {text}"
            )
        else:
            kept.append(text)
    result: HostConfig = host.copy()
    result["SecurityOpt"] = kept
    return Discarded(result, warnings)


def check(
    config: ContainerConfig,
    host: HostConfig,
    kernel: Kernel,
    hard_limits: Mapping[str, int] | None = None,
) -> None:
    """Raise InvalidParameter or Unsupported for what can never run on this kernel.

    Resource limits are ``cgroups.limits.check``'s part. With ``hard_limits``
    (``linux.rlimits.hard_limits()``) the ulimits are held against the engine's own.
    """
    modes = namespaces.modes(host, kernel)
    check_config(config)
    check_exclusions(config, host)
    for point in user_mounts.resolve_all(host):
        destinations.check(point)
    sysctls.check(
        host, own={kind for kind, mode in modes.items() if mode.kind == namespaces.PRIVATE}
    )
    capabilities.resolve(
        host["CapAdd"], host["CapDrop"], privileged=host["Privileged"], bounding=kernel.bounding
    )
    options = security_opt.parse(host["SecurityOpt"])
    check_profile(options.seccomp, kernel)
    selinux.parse(options.labels)
    for mapping in host["Devices"]:
        devices.check(mapping)
    for rule in host["DeviceCgroupRules"]:
        devices.parse_rule(rule)
    for request in host.get("DeviceRequests") or ():
        gpus.check(request)
    for limit in host["Ulimits"]:
        ulimits.check(limit)
    may_raise = "CAP_SYS_RESOURCE" in kernel.effective
    ulimits.check_raise(host["Ulimits"], hard_limits or {}, may_raise=may_raise)
    network_files.check(host)
    disk_quota.check(host)
    for name in host["Annotations"]:
        if not name:
            raise InvalidParameter("invalid annotation: empty name")


def check_profile(profile: str, kernel: Kernel) -> None:
    """Raise InvalidParameter for a seccomp profile that cannot be used."""
    if profile in ("", security_opt.DEFAULT, security_opt.UNCONFINED):
        return
    if not profile.lstrip().startswith("{"):
        raise InvalidParameter(
            f"--security-opt seccomp={profile}: a profile's text is needed here",
            resolution="the command line reads files; a program must send the JSON itself",
        )
    target = seccomp.Target(kernel.machine, kernel.version, frozenset(kernel.bounding))
    seccomp.load_profile(profile, target)


def check_config(config: ContainerConfig) -> None:
    """Raise InvalidParameter for a bad host name, working directory or stop timeout."""
    if config["Hostname"]:
        network_files.check_hostname(config["Hostname"])
    if config["Domainname"]:
        network_files.check_hostname(config["Domainname"], "--domainname")
    workdir.check(config["WorkingDir"])
    if config["StopTimeout"] is not None and config["StopTimeout"] < -1:
        raise InvalidParameter(f"invalid --stop-timeout {config['StopTimeout']}")
    check_health(config["Healthcheck"])


def check_health(check: HealthConfig | None) -> None:
    """Raise InvalidParameter for a health check's times under 1 ms, or negative retries."""
    times = {key: value for key, value in (check or {}).items() if key in _HEALTH_TIMES}
    for name, value in times.items():
        if value and value < _HEALTH_LEAST_NS:  # type: ignore[operator]
            raise InvalidParameter(
                f"{name} in Healthcheck cannot be less than 1ms",
                resolution="leave it out, or 0, for the default",
            )
    if check and (check.get("Retries") or 0) < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")


def check_exclusions(config: ContainerConfig, host: HostConfig) -> None:
    """Raise InvalidParameter for options that exclude each other."""
    if host["AutoRemove"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise InvalidParameter(
            "can't create 'AutoRemove' container with restart policy",
            resolution="use --rm or --restart, not both",
        )
    shared = host["UTSMode"] == namespaces.HOST or host["UTSMode"].startswith(namespaces.CONTAINER)
    if shared and (config["Hostname"] or config["Domainname"]):
        raise InvalidParameter(
            "conflicting options: hostname and the UTS mode",
            resolution="leave out --hostname and --domainname",
        )
