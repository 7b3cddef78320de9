"""What Prometheus is told: containers, what they use, what was done and how long it took.

Everything is looked up when somebody asks: the database, the kernel's counters, and the journal
from where the last look ended. Between two looks nothing runs and nothing is kept but the totals.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from runengine import __version__
from runengine.cgroups import counters
from runengine.errors import EngineError
from runengine.linux import clock
from runengine.mgr.action_counts import ActionCounts
from runengine.mgr.container import health, observe, pending
from runengine.mgr.container.context import Context
from runengine.mgr.engine import Engine
from runengine.mgr.event_stream import Tail
from runengine.store.containers import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from runengine.paths import Paths
    from runengine.store.containers import Record, State

STATES = ("created", "running", "paused", "restarting", "exited", "removing")
HEALTH = (health.STARTING, "healthy", health.UNHEALTHY)
_SECOND_NS = 1_000_000_000


class Seen(NamedTuple):
    """A container at this moment."""

    record: Record
    state: State
    health: str
    used: counters.Counters


class Collector:
    """A collector for ``prometheus_client``, of one engine's directories.

    The labels of a container's series are its name alone: names are unique at any one time, and a
    container that is made anew under its old name goes on with the series of the old one. Its id
    and image are on ``runengine_container_info``, to be joined where they are wanted.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._counts = ActionCounts()
        self._tail = Tail(paths.journal)

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now; without a readable database ``runengine_up`` is 0."""
        yield InfoMetricFamily("runengine_build", "This engine.", {"version": __version__})
        try:
            with Engine.open(self._paths) as engine:
                families = list(_of_engine(engine))
        except (EngineError, OSError):
            families = []
        yield GaugeMetricFamily(
            "runengine_up", "Whether the engine's state could be read.", float(bool(families))
        )
        yield from families
        self._counts.update(self._tail.read())
        yield from of_actions(self._counts)

    def close(self) -> None:
        """Let go of the journal."""
        self._tail.close()


def _of_engine(engine: Engine) -> Iterator[Metric]:
    context = Context(
        engine.config,
        engine.store,
        engine.images,
        engine.events,
        engine.networks,
        engine.volumes,
        [],
    )
    seen = [_look(context, record) for record in context.store.containers.all()]
    yield from of_containers([one for one in seen if one.state["Status"] != "creating"])
    yield GaugeMetricFamily(
        "runengine_images", "Images.", float(len(context.store.images.all()))
    )


def _look(context: Context, record: Record) -> Seen:
    state = pending.look(context, record)
    live = observe.is_live(state)
    used = counters.read(record.details.get("cgroup", {})) if live else counters.Counters()
    found = health.status(context, record, state) if live else health.NONE
    return Seen(record, state, found, used)


def of_containers(seen: list[Seen]) -> Iterator[Metric]:
    """Counts over all containers, then the series of each."""
    yield _counted(
        "runengine_containers", "Containers by state.", "state", STATES,
        Counter(one.state["Status"] for one in seen),
    )
    yield _counted(
        "runengine_containers_health", "Running containers with a health check, by its result.",
        "health", HEALTH, Counter(one.health for one in seen),
    )
    yield _identities(seen)
    for series in SERIES:
        yield series.family(seen)


def _counted(
    name: str, text: str, label: str, values: tuple[str, ...], found: Counter[str]
) -> Metric:
    """A gauge with a series for every value, 0 where nothing has it."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value in values:
        family.add_metric([value], found[value])
    return family


def _identities(seen: list[Seen]) -> Metric:
    family = InfoMetricFamily(
        "runengine_container", "A container's id and image.", labels=["name"]
    )
    for record, *_ in seen:
        family.add_metric([record.name], {"id": record.id, "image": record.config["Image"]})
    return family


class Series(NamedTuple):
    """One number of each container; those that have none are left out."""

    name: str
    help: str
    value: Callable[[Seen], float | None]
    counts: bool = False

    def family(self, seen: list[Seen]) -> Metric:
        """The series of these containers."""
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        family = kind(self.name, self.help, labels=["name"])
        for one in seen:
            number = self.value(one)
            if number is not None:
                family.add_metric([one.record.name], number)
        return family


def _exit_code(seen: Seen) -> float | None:
    has_ended = seen.state["Status"] in ("exited", pending.RESTARTING)
    return seen.state["ExitCode"] if has_ended else None


def _started(seen: Seen) -> float | None:
    at = seen.state["StartedAt"]
    return None if at == NEVER else clock.parse_ns(at) / _SECOND_NS


def _cpu_s(seen: Seen) -> float | None:
    return None if seen.used.cpu_ns is None else seen.used.cpu_ns / _SECOND_NS


SERIES = (
    Series(
        "runengine_container_start_time_seconds",
        "When the container was last started, since the epoch.",
        _started,
    ),
    Series(
        "runengine_container_restarts",
        "Starts by the restart policy since the user's own.",
        lambda seen: seen.record.restarts.times,
    ),
    Series(
        "runengine_container_exit_code",
        "How the last run ended; absent while it runs and where nobody saw it.",
        _exit_code,
    ),
    Series(
        "runengine_container_cpu_seconds",
        "CPU time used in this run.",
        _cpu_s,
        counts=True,
    ),
    Series(
        "runengine_container_memory_bytes",
        "Memory in use, page cache included.",
        lambda seen: seen.used.memory_bytes,
    ),
    Series(
        "runengine_container_memory_peak_bytes",
        "The most memory used in this run.",
        lambda seen: seen.used.memory_peak_bytes,
    ),
    Series(
        "runengine_container_memory_limit_bytes",
        "Memory limit; absent without one.",
        lambda seen: seen.used.memory_limit_bytes,
    ),
    Series(
        "runengine_container_oom_kills",
        "Processes of this run killed for want of memory.",
        lambda seen: seen.used.oom_kills,
        counts=True,
    ),
    Series(
        "runengine_container_pids",
        "Processes and threads.",
        lambda seen: seen.used.pids,
    ),
    Series(
        "runengine_container_pids_limit",
        "Limit of processes and threads; absent without one.",
        lambda seen: seen.used.pids_limit,
    ),
    Series(
        "runengine_container_io_read_bytes",
        "Bytes read from block devices in this run.",
        lambda seen: seen.used.read_bytes,
        counts=True,
    ),
    Series(
        "runengine_container_io_written_bytes",
        "Bytes written to block devices in this run.",
        lambda seen: seen.used.write_bytes,
        counts=True,
    ),
)


def of_actions(counts: ActionCounts) -> Iterator[Metric]:
    """Totals since the exporter's start."""
    labels = ["type", "action"]
    actions = CounterMetricFamily("runengine_actions", "Successful actions.", labels=labels)
    for action, number in sorted(counts.actions.items()):
        actions.add_metric(action, number)
    yield actions
    durations = HistogramMetricFamily(
        "runengine_action_duration_seconds", "How long actions took.", labels=labels
    )
    for action, histogram in sorted(counts.durations.items()):
        durations.add_metric(action, histogram.buckets(), histogram.sum_s)
    yield durations
    exits = CounterMetricFamily(
        "runengine_container_exits", "Ends of containers by exit code.", labels=["code"]
    )
    for code, number in sorted(counts.exits.items()):
        exits.add_metric([code], number)
    yield exits
    yield CounterMetricFamily(
        "runengine_journal_gaps", "Times that events were lost to the counters.", counts.gaps
    )
