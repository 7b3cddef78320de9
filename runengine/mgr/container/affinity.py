"""Where the processes run that ``exec`` adds (runtime-spec, config.md: execCPUAffinity).

A runtime that knows the field does it. For others the engine starts the runtime itself on these
CPUs: what a process has chosen stays when it joins the container's control group and is cut to
what that allows (sched_setaffinity(2), cpuset(7)), but only since Linux 6.2. Before, the control
group's whole set comes back, and then a process that was bound afterwards has run elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.cgroups.limits import check_list
from runengine.cgroups.machine import show_list
from runengine.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from runengine.cgroups.machine import Machine
    from runengine.mgr.container.context import Context
    from runengine.model import ExecCpuAffinity, HostConfig
    from runengine.runtime.abilities import Abilities

FLAG = "--exec-cpu-affinity"
KEPT_SINCE = (6, 2)
"""Linux; commit 8f9ea86fdf99, "Always preserve the user requested cpumask"."""


class Decision(NamedTuple):
    """Who sees to it: one of both is None."""

    section: dict[str, str] | None
    """``process.execCPUAffinity`` for the runtime."""
    cpus: list[int] | None
    """Where the monitor starts the runtime."""


NOTHING = Decision(None, None)


def check(wanted: ExecCpuAffinity, host: HostConfig, machine: Machine) -> None:
    """Raise InvalidParameter for CPUs that are not there, or not the container's."""
    initial = check_list(wanted["Initial"], FLAG)
    final = check_list(wanted["Final"], FLAG)
    own = check_list(host["CpusetCpus"], "--cpuset-cpus") or machine.cpus
    for name, chosen, allowed, whose in (
        ("initial", initial, machine.cpus, "host"),
        ("final", final, own, "container"),
    ):
        if allowed is not None and not chosen <= allowed:
            raise InvalidParameter(
                f"invalid {FLAG} {name}={show_list(chosen)}: the {whose} has {show_list(allowed)}"
            )


def decide(
    wanted: ExecCpuAffinity | None, able: Abilities, version: tuple[int, int], machine: Machine
) -> Decision:
    """How to do what is wanted. Raises Unsupported where neither runtime nor kernel can."""
    if not wanted or not (wanted["Initial"] or wanted["Final"]):
        return NOTHING
    initial, final = wanted["Initial"], wanted["Final"]
    if able.exec_cpu_affinity:
        # Without a last word of its own the process would keep where the runtime was.
        section = {"initial": initial, "final": final or show_list(machine.cpus or frozenset())}
        return Decision({name: cpus for name, cpus in section.items() if cpus}, None)
    cpus = check_list(final, FLAG)
    runtime = f"runc {able.version}" if able.version else "the runtime"
    if initial and check_list(initial, FLAG) != cpus:
        raise Unsupported(
            f"{FLAG} initial={initial}: {runtime} cannot begin elsewhere than where it ends",
            resolution=f"use runc 1.3 or newer, or {FLAG} {final or 'CPUS'}",
        )
    if version < KEPT_SINCE:
        raise Unsupported(
            f"{FLAG} {final}: neither {runtime} nor this kernel keeps a process there",
            resolution="use runc 1.3 or newer, or Linux 6.2",
        )
    return Decision(None, sorted(cpus))


def decide_for(context: Context, wanted: ExecCpuAffinity | None, runtime: str) -> Decision:
    """The same with this host's kernel and the runtime of this name."""
    if not wanted:
        return NOTHING
    from runengine.cgroups import machine
    from runengine.linux import kernel
    from runengine.mgr.container.runtime import abilities

    able = abilities(context, runtime)
    return decide(wanted, able, kernel.probe().version, machine.probe())


def deviation(pid: int, wanted: ExecCpuAffinity) -> str:
    """How a process that runs is not where it was asked to be; empty if it is, or has ended."""
    from runengine.linux import inheritance

    if not wanted["Final"]:
        return ""
    try:
        status = inheritance.read_status(pid)
    except OSError:
        return ""
    listed = inheritance.field(status, b"Cpus_allowed_list").decode()
    if check_list(listed, FLAG) <= check_list(wanted["Final"], FLAG):
        return ""
    return f"{FLAG} {wanted['Final']}: the process is on {listed}"
