"""Masked paths, seccomp, AppArmor and SELinux (config-linux.md#seccomp, #masked-paths)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.oci_spec import seccomp, security_opt, selinux

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.facts import SpecFacts

# What tells about or reaches the host's hardware, memory, keys and other users' timers.
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_SPEC_ALLOW = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def set_paths(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """``linux.maskedPaths`` and ``linux.readonlyPaths``; none for a privileged container."""
    if host["Privileged"]:
        return
    options = security_opt.parse(host["SecurityOpt"])
    masked = _chosen(host["MaskedPaths"], (*MASKED, *facts.kernel.thermal_paths), options)
    readonly = _chosen(host["ReadonlyPaths"], _readonly(facts, options), options)
    masked = list(dict.fromkeys([*masked, *options.mask]))
    if masked:
        spec["linux"]["maskedPaths"] = masked
    if readonly:
        spec["linux"]["readonlyPaths"] = readonly


def _readonly(facts: SpecFacts, options: security_opt.SecurityOptions) -> tuple[str, ...]:
    """On cgroup v1 runc leaves the tmpfs that holds the controllers' mounts writable."""
    if facts.kernel.cgroup_version == 1 and not options.writable_cgroups:
        return (*READONLY, "/sys/fs/cgroup")
    return READONLY


def _chosen(
    given: list[str] | None, default: Sequence[str], options: security_opt.SecurityOptions
) -> list[str]:
    if given is not None:
        return list(given)
    if options.systempaths_unconfined or "ALL" in options.unmask:
        return []
    if not options.unmask:
        return list(default)
    return [path for path in default if not _matches(path, options.unmask)]


def _matches(path: str, patterns: Iterable[str]) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(path, pattern) for pattern in patterns)


def set_seccomp(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """The filter: a given one, the user's profile, none, or the default for these capabilities."""
    if facts.seccomp is not None:
        spec["linux"]["seccomp"] = facts.seccomp
    elif facts.kernel.seccomp:
        section = _filter(spec, host, facts)
        if section is not None:
            spec["linux"]["seccomp"] = _without_mitigations(section, facts)


def _filter(
    spec: dict[str, Any], host: HostConfig, facts: SpecFacts
) -> dict[str, Any] | None:
    options = security_opt.parse(host["SecurityOpt"])
    target = seccomp.Target(
        machine=facts.kernel.machine,
        kernel=facts.kernel.version,
        capabilities=frozenset(spec["process"]["capabilities"]["bounding"]),
        extra=(*options.seccomp_arch, *seccomp.image_architectures(facts.image_architecture)),
    )
    if options.seccomp == security_opt.UNCONFINED:
        return None
    if options.seccomp not in ("", security_opt.DEFAULT):
        return seccomp.load_profile(options.seccomp, target)
    if host["Privileged"] and not options.seccomp:
        return None
    return seccomp.default_profile(target)


def _without_mitigations(section: dict[str, Any], facts: SpecFacts) -> dict[str, Any]:
    """Do not slow the process by what kernels before 5.16 do to whoever has a filter.

    The mitigation of speculative store bypass keeps a process's own code from reading its own
    memory; it protects nobody else (seccomp(2), SECCOMP_FILTER_FLAG_SPEC_ALLOW). A profile with
    flags of its own, or with an empty list of them, is left alone. Where the runtime does not know
    the flag it stays out, also a profile's own: runc before 1.2 refuses all flags, and has no
    default of its own; later ones set it where there is no list.
    """
    able = _SPEC_ALLOW in facts.seccomp_flags
    if "flags" not in section:
        return {**section, "flags": [_SPEC_ALLOW]} if able else section
    if able:
        return section
    return {**section, "flags": [flag for flag in section["flags"] if flag != _SPEC_ALLOW]}


def set_apparmor(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """``process.apparmorProfile``, where the kernel has AppArmor."""
    if not facts.kernel.apparmor:
        return
    name = security_opt.apparmor_of(host, facts.apparmor_profile or "")
    if name:
        spec["process"]["apparmorProfile"] = name


def set_selinux(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """``process.selinuxLabel`` and ``linux.mountLabel``; what a container needs that has a say."""
    if facts.labels is None:
        return
    if facts.labels.process:
        spec["process"]["selinuxLabel"] = facts.labels.process
    spec["linux"]["mountLabel"] = facts.labels.mount
    if selinux.parse(security_opt.parse(host["SecurityOpt"]).labels).nested:
        spec["mounts"].append(
            {
                "destination": "/sys/fs/selinux",
                "type": "bind",
                "source": "/sys/fs/selinux",
                "options": ["bind", "rprivate", "nosuid", "noexec"],
            }
        )
