"""Rows of ``stats``: Docker's columns and arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli import units
from runengine.cli.template_values import Row

if TYPE_CHECKING:
    from collections.abc import Callable

TITLES = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "MemCurrent": "MEM CURRENT",
    "MemAnon": "MEM ANON",
    "MemFile": "MEM FILE",
    "MemPeak": "MEM PEAK",
    "OOMKills": "OOM KILLS",
    "CPUPressure": "CPU PRESSURE",
    "MemPressure": "MEM PRESSURE",
    "IOPressure": "IO PRESSURE",
}
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
UNKNOWN = "--"
_NEVER = "0001-"


class StatsRow(Row):
    """A container's usage; ``document`` is Docker's ``/containers/{id}/stats`` shape."""

    def __init__(self, document: dict[str, Any], *, full: bool, typed: str = "") -> None:
        self.entry = document
        self.full = full
        self.typed = typed

    def field(self, name: str) -> Any:
        """A column's value. Raises KeyError."""
        return _MORE[name](self) if name in _MORE else _FIELDS[name](self)

    def document(self) -> dict[str, Any]:
        """Docker's columns, sorted by name."""
        return {name: _FIELDS[name](self) for name in sorted(_FIELDS)}

    def _id(self) -> str:
        identity = str(self.entry["id"])
        return identity if self.full else identity[:12]

    def _container(self) -> str:
        return self.typed or self._id()

    def _name(self) -> str:
        return str(self.entry["name"]).removeprefix("/")

    def _cpu(self) -> str:
        percent = cpu_percent(self.entry)
        return UNKNOWN if percent is None else f"{percent:.2f}%"

    def _memory(self) -> str:
        limit = self.entry["memory_stats"].get("limit", 0)
        used = units.human_size_binary(memory_used(self.entry["memory_stats"]))
        return f"{used} / {units.human_size_binary(limit)}"

    def _memory_percent(self) -> str:
        limit = self.entry["memory_stats"].get("limit", 0)
        used = memory_used(self.entry["memory_stats"])
        return f"{used / limit * 100 if limit else 0.0:.2f}%"

    def _network(self) -> str:
        networks = (self.entry.get("networks") or {}).values()
        return _pair(sum(one["rx_bytes"] for one in networks),
                     sum(one["tx_bytes"] for one in networks))  # fmt: skip

    def _block(self) -> str:
        entries = self.entry["blkio_stats"].get("io_service_bytes_recursive") or []
        sums = {"r": 0, "w": 0}
        for entry in entries:
            first = entry["op"][:1].lower()
            if first in sums:
                sums[first] += entry["value"]
        return _pair(sums["r"], sums["w"])

    def _pids(self) -> str:
        return str(self.entry["pids_stats"].get("current", 0))


    def memory(self, key: str) -> str:
        """One of the kernel's counts of bytes."""
        value = self.entry["memory_stats"].get(key)
        return UNKNOWN if value is None else units.human_size_binary(value)

    def pressure(self, section: str) -> str:
        """The part of the last ten seconds in which some of its tasks waited."""
        psi = self.entry[section].get("psi")
        return f"{psi['some']['avg10']:.2f}%" if psi and "some" in psi else UNKNOWN

    def _oom_kills(self) -> str:
        return str(self.entry["memory_stats"].get("events", {}).get("oom_kill", UNKNOWN))


def _pair(first: int, second: int) -> str:
    return f"{units.human_size(first, 3)} / {units.human_size(second, 3)}"


def cpu_percent(document: dict[str, Any]) -> float | None:
    """Of one CPU, between the document's two looks; None if there was one look only."""
    now, before = document["cpu_stats"], document["precpu_stats"]
    if document["read"].startswith(_NEVER):
        return 0.0
    if document["preread"].startswith(_NEVER):
        return None
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    return float(used / passed * now["online_cpus"] * 100)


def memory_used(memory: dict[str, Any]) -> int:
    """Without the file cache that the kernel would give up first, as Docker counts."""
    usage, stats = int(memory.get("usage", 0)), memory.get("stats") or {}
    cache = int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))
    return usage - cache if cache < usage else usage


_FIELDS: dict[str, Callable[[StatsRow], str]] = {
    "Container": StatsRow._container,
    "ID": StatsRow._id,
    "Name": StatsRow._name,
    "CPUPerc": StatsRow._cpu,
    "MemUsage": StatsRow._memory,
    "MemPerc": StatsRow._memory_percent,
    "NetIO": StatsRow._network,
    "BlockIO": StatsRow._block,
    "PIDs": StatsRow._pids,
}
# For templates alone: scripts that read Docker's JSON count its keys.
_MORE: dict[str, Callable[[StatsRow], str]] = {
    "MemCurrent": lambda row: row.memory("usage"),
    "MemAnon": lambda row: row.memory("anon"),
    "MemFile": lambda row: row.memory("file"),
    "MemPeak": lambda row: row.memory("max_usage"),
    "OOMKills": StatsRow._oom_kills,
    "CPUPressure": lambda row: row.pressure("cpu_stats"),
    "MemPressure": lambda row: row.pressure("memory_stats"),
    "IOPressure": lambda row: row.pressure("blkio_stats"),
}
