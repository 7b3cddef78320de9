"""What holds a living container's speed back, or decides about it: for ``inspect``.

Sources: proc_pid_status(5), the kernel's admin-guide/hw-vuln, scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runengine.cgroups.files import fields, number, text
from runengine.cgroups.layout import UNIFIED
from runengine.linux import inheritance
from runengine.mgr.container import placement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.store.containers import Record, State

    Document = dict[str, Any]

VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities"
_SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}


def documents(record: Record, state: State) -> Document:
    """``Mitigations`` and ``Placement`` of one that lives; nothing if it has just ended."""
    pid, cgroup = state["Pid"], record.details.get("cgroup", {})
    try:
        status = inheritance.read_status(pid)
    except OSError:
        return {}
    found: Document = {"Mitigations": mitigations(status, cgroup)}
    where = placement.document(record.host_config, pid, cgroup)
    return found if where is None else {**found, "Placement": where}


def mitigations(
    status: bytes, cgroup: Mapping[str, str], host: str = VULNERABILITIES
) -> Document:
    """What is in force for the process with this status, in the kernel's own words."""
    mode = _word(status, b"Seccomp")
    return {
        "SpeculativeStoreBypass": _word(status, b"Speculation_Store_Bypass"),
        "SpeculativeIndirectBranch": _word(status, b"SpeculationIndirectBranch"),
        "Seccomp": _SECCOMP.get(mode, mode),
        "SeccompFilters": int(_word(status, b"Seccomp_filters") or 0),
        "NoNewPrivileges": _word(status, b"NoNewPrivs") == "1",
        "CpuQuota": _quota(cgroup),
        "Host": _host(host),
    }


def _word(status: bytes, name: bytes) -> str:
    return inheritance.field(status, name).decode("ascii", "replace")


def _quota(cgroup: Mapping[str, str]) -> Document | None:
    """The limit of CPU time and how often it was met; None without one."""
    if "cpu" in cgroup:
        quota = number(f"{cgroup['cpu']}/cpu.cfs_quota_us")  # -1 is no number
        period, folder = number(f"{cgroup['cpu']}/cpu.cfs_period_us"), cgroup["cpu"]
    else:
        folder = cgroup.get(UNIFIED, "")
        words = (text(f"{folder}/cpu.max") or "max 0").split()
        quota = int(words[0]) if words[0].isdigit() else None
        period = int(words[1])
    if quota is None:
        return None
    stat = fields(f"{folder}/cpu.stat")
    throttled_ns = stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000)
    return {
        "QuotaUs": quota,
        "PeriodUs": period,
        "ThrottledPeriods": stat.get("nr_throttled", 0),
        "ThrottledNs": throttled_ns,
    }


def _host(folder: str) -> dict[str, str]:
    """By vulnerability what the kernel does against it."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {name: (text(f"{folder}/{name}") or "").strip() for name in names}
