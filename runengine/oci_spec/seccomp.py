"""Seccomp profiles: the engine's default one and those of users (config-linux.md#seccomp).

The default is ``seccomp_default.json``: system calls in groups by purpose, each with the
condition under which it is allowed. User profiles come in Docker's form (archMap, includes and
excludes) or in OCI form.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from runengine.errors import InvalidParameter

EPERM = 1
ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
_DATA = os.path.join(os.path.dirname(__file__), "seccomp_default.json")  # noqa: PTH118, PTH120


class Target(NamedTuple):
    """What decides which parts of a profile count."""

    machine: str
    """``uname -m``."""
    kernel: tuple[int, int]
    capabilities: frozenset[str]
    """The container's bounding set."""
    extra: tuple[str, ...] = ()
    """Further architectures: ``all``, or names such as x86, x32, arm."""


class Machine(NamedTuple):
    """A processor architecture's names."""

    scmp: str
    """In the runtime spec."""
    docker: str
    """In Docker's profiles."""
    bits: int = 64
    subs: tuple[tuple[str, str], ...] = ()
    """Other system call tables that its kernels serve: our name, runtime-spec name."""


_ARM = ("arm", "SCMP_ARCH_ARM")
MACHINES = {
    "x86_64": Machine(
        "SCMP_ARCH_X86_64",
        "amd64",
        subs=(("x86", "SCMP_ARCH_X86"), ("x32", "SCMP_ARCH_X32")),
    ),
    "i686": Machine("SCMP_ARCH_X86", "x86", bits=32),
    "aarch64": Machine("SCMP_ARCH_AARCH64", "arm64", subs=(_ARM,)),
    "armv7l": Machine("SCMP_ARCH_ARM", "arm", bits=32),
    "armv6l": Machine("SCMP_ARCH_ARM", "arm", bits=32),
    "ppc64le": Machine("SCMP_ARCH_PPC64LE", "ppc64le"),
    "s390x": Machine("SCMP_ARCH_S390X", "s390x", subs=(("s390", "SCMP_ARCH_S390"),)),
    "riscv64": Machine("SCMP_ARCH_RISCV64", "riscv64"),
}
ALL = "all"
NATIVE = "native"


def image_architectures(goarch: str) -> tuple[str, ...]:
    """What an image built for a 32-bit architecture needs beside the native one."""
    return {"386": ("x86",), "arm": ("arm",)}.get(goarch, ())


def check_architectures(names: tuple[str, ...]) -> None:
    """Raise InvalidParameter for a name that no machine knows."""
    known = {ALL, NATIVE, *(name for machine in MACHINES.values() for name, _ in machine.subs)}
    for name in names:
        if name not in known:
            raise InvalidParameter(
                f"invalid --security-opt seccomp-arch={name}",
                resolution=f"one of {', '.join(sorted(known))}",
            )


def machine_of(target: Target) -> Machine:
    """The target's architecture. Raises InvalidParameter where no profile is known."""
    found = MACHINES.get(target.machine)
    if found is None:
        raise InvalidParameter(
            f"no default seccomp profile for {target.machine}",
            resolution="give one by --security-opt seccomp=FILE",
        )
    return found


def architectures(target: Target) -> list[str]:
    """``linux.seccomp.architectures``: the native one, and others that were asked for."""
    machine = machine_of(target)
    chosen = [scmp for name, scmp in machine.subs if name in target.extra or ALL in target.extra]
    return [machine.scmp, *chosen]


_groups: list[dict[str, Any]] | None = None


def groups() -> list[dict[str, Any]]:
    """The default profile's groups, ``calls`` split; read once per process."""
    global _groups
    if _groups is None:
        import json

        with open(_DATA, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs an import
            _groups = json.load(file)["groups"]
        for group in _groups:
            lines = group["calls"]
            group["calls"] = (lines if isinstance(lines, str) else " ".join(lines)).split()
    return _groups


def default_profile(target: Target) -> dict[str, Any]:
    """``linux.seccomp`` of the default profile: everything is refused but what is listed."""
    chosen = architectures(target)
    wide = machine_of(target).bits == 32 or len(chosen) > 1
    allowed: set[str] = set()
    special: list[dict[str, Any]] = []
    for group in groups():
        if not _applies(group, target, wide=wide):
            continue
        if "args" in group or "errno" in group:
            special.append(_entry(group))
        else:
            allowed.update(group["calls"])
    return {
        "defaultAction": ERRNO,
        "defaultErrnoRet": EPERM,
        "architectures": chosen,
        "syscalls": [{"names": sorted(allowed), "action": ALLOW}, *special],
    }


def _applies(group: dict[str, Any], target: Target, *, wide: bool) -> bool:
    machine = target.machine
    return not (
        "denied" in group
        or ("bits" in group and not wide)
        or ("cap" in group and group["cap"] not in target.capabilities)
        or ("without" in group and group["without"] in target.capabilities)
        or ("since" in group and target.kernel < _version(group["since"]))
        or ("machines" in group and machine not in group["machines"])
        or ("not_machines" in group and machine in group["not_machines"])
    )


def _entry(group: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"names": group["calls"], "action": ALLOW}
    if "errno" in group:
        entry.update(action=ERRNO, errnoRet=group["errno"])
    if "args" in group:
        entry["args"] = group["args"]
    return entry


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def load_profile(text: str, target: Target) -> dict[str, Any]:
    """``linux.seccomp`` from a user's profile, in Docker's or in OCI form.

    Raises InvalidParameter for what is not one; the models are imported only here.
    """
    from runengine.oci_spec import seccomp_profile

    return seccomp_profile.load(text, target, MACHINES.get(target.machine))
