"""``stats``: what containers use, once or again and again, in Docker's shape."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cgroups import machine, usage
from runengine.errors import NotFound
from runengine.linux import clock
from runengine.mgr.container import observe
from runengine.store.containers import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State

    Document = dict[str, Any]

INTERVAL_S = 1.0
_NS = 1_000_000_000
# user nice system idle iowait irq softirq; the rest is counted in these already (proc_stat(5)).
_HOST_FIELDS = 7


class Host(NamedTuple):
    """What all containers of a round are measured against."""

    cpu_ns: int
    online_cpus: int
    memory_bytes: int
    read_ns: int
    """When, since the epoch."""


def look_at_host() -> Host:
    """CPU time that went by on all processors, and how many there are."""
    with open("/proc/stat", "rb") as file:
        words = file.readline().split()
    ticks = sum(int(word) for word in words[1 : 1 + _HOST_FIELDS])
    return Host(
        ticks * _NS // os.sysconf("SC_CLK_TCK"),
        os.sysconf("SC_NPROCESSORS_ONLN"),
        machine.memory_bytes(),
        time.time_ns(),
    )


class Meter:
    """Looks at one container again and again; each time it tells what the last look was."""

    def __init__(self) -> None:
        self._run = ""
        self._before: Document = usage.nothing().cpu
        self._read = NEVER

    def measure(self, context: Context, record: Record, host: Host) -> Document:
        """Docker's document; zeros if the container does not run. The first has no ``precpu``."""
        state = observe.observe(context, record)
        if not observe.is_live(state):
            self._run, self._read = "", NEVER
            return _document(record, usage.nothing(), None)
        if self._run != state["StartedAt"]:  # counters began anew
            self._run, self._read, self._before = state["StartedAt"], NEVER, usage.nothing().cpu
        found = usage.read(record.details["cgroup"], host.memory_bytes)
        found.cpu["system_cpu_usage"] = host.cpu_ns
        found.cpu["online_cpus"] = host.online_cpus
        read = clock.format_ns(host.read_ns)
        document = _document(record, found, _networks(record, state))
        document.update(read=read, preread=self._read, precpu_stats=self._before)
        self._before, self._read = found.cpu, read
        return document


def _document(record: Record, found: usage.Usage, networks: Document | None) -> Document:
    document: Document = {
        "name": f"/{record.name}",
        "id": record.id,
        "read": NEVER,
        "preread": NEVER,
        "num_procs": 0,
        "storage_stats": {},
        "pids_stats": found.pids,
        "blkio_stats": found.blkio,
        "cpu_stats": found.cpu,
        "precpu_stats": usage.nothing().cpu,
        "memory_stats": found.memory,
    }
    if networks is not None:
        document["networks"] = networks
    return document


def _networks(record: Record, state: State) -> Document | None:
    """Counters of each interface but the loopback; None where they are the host's own."""
    from runengine.netns import counters

    if record.host_config["NetworkMode"] == "host":
        return None
    try:
        found = counters.read(state["Pid"])
    except NotFound:
        return None  # it ended just now
    return {name: counted._asdict() for name, counted in found.items()}


class Watch:
    """Containers that are looked at together, round by round.

    With ``ids`` those, as long as there are any of them; without, all that run, or with
    ``everything`` all there are, those included that come while it goes on.
    """

    def __init__(self, context: Context, ids: Sequence[str] | None, *, everything: bool) -> None:
        self._context = context
        self._ids = ids
        self._everything = everything
        self._meters: dict[str, Meter] = {}
        self._records: list[Record] = []
        self._version: tuple[int, int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether none of the containers that were named is left."""
        return self._ids is not None and not self._records

    def round(self) -> list[Document]:
        """A document of each container, in the order given, else the newest first."""
        self._reload()
        host = look_at_host()
        documents = []
        for record in self._records:
            meter = self._meters.setdefault(record.id, Meter())
            document = meter.measure(self._context, record, host)
            if document["read"] != NEVER or self._everything or self._ids is not None:
                documents.append(document)
        return documents

    def rounds(self, interval_s: float = INTERVAL_S) -> Iterator[list[Document]]:
        """Rounds without end, or until it is over; the first at once, and they do not drift."""
        due = time.monotonic()
        while True:
            found = self.round()
            if self.is_over:
                return
            yield found
            due = max(due + interval_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _reload(self) -> None:
        """Read the records again if anybody has changed one."""
        version = self._context.store.database.data_version()
        if version == self._version:
            return
        self._version = version
        if self._ids is None:
            found = self._context.store.containers.all()
            self._records = [one for one in found if one.status not in ("creating", "removing")]
        else:
            some = (self._context.find(identity) for identity in self._ids)
            self._records = [record for record in some if record is not None]
        known = {record.id for record in self._records}
        self._meters = {key: one for key, one in self._meters.items() if key in known}


def stats(context: Context, name: str, *, one_shot: bool = False) -> Document:
    """One document; two looks a second apart, so that it tells of the time between them.

    With ``one_shot`` one look, without ``precpu_stats``. Zeros if the container does not run.
    """
    watch = Watch(context, [context.resolve(name)], everything=True)
    found = watch.round()
    if not one_shot and found and found[0]["read"] != NEVER:
        time.sleep(INTERVAL_S)
        found = watch.round()
    if not found:
        raise NotFound(f"No such container: {name}")
    return found[0]


def stream_stats(
    context: Context, name: str, *, interval_s: float = INTERVAL_S
) -> Iterator[Document]:
    """A document at once and then each ``interval_s``, until the container is removed."""
    watch = Watch(context, [context.resolve(name)], everything=True)

    def documents() -> Iterator[Document]:
        for found in watch.rounds(interval_s):
            yield from found

    return documents()
