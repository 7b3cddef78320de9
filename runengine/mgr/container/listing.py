"""``ps``: which containers there are, filtered, in the shape of Docker's ``/containers/json``."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter, NotFound
from runengine.linux import clock
from runengine.mgr.container import health, observe, pending, status
from runengine.mgr.container.recover import settle_lost, sweep_orphans
from runengine.mgr.network import modes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State
    from runengine.store.network_types import Port

STATUSES = frozenset(
    {"created", "restarting", "running", "removing", "paused", "exited", "dead", "stopped"}
)
HEALTH = frozenset({health.STARTING, "healthy", health.UNHEALTHY, health.NONE})


class Seen(NamedTuple):
    """A record with the state it is really in."""

    record: Record
    state: State
    networks: Sequence[str] = ()
    """Names of the networks that it is to be on."""
    ports: Sequence[Port] = ()
    """The host ports that it has."""


def list_containers(
    context: Context,
    *,
    everything: bool,
    filters: Mapping[str, Sequence[str]],
    limit: int,
    size: bool,
) -> list[dict[str, Any]]:
    """Summaries of the containers that pass every filter, the newest first.

    Without ``everything`` only those that are up, unless a status is asked for or a
    ``limit`` (0 for none) is given. Raises InvalidParameter for a filter that does not exist.
    """
    tests = [_compile(context, key, values) for key, values in filters.items() if values]
    seen = _observe_all(context)
    if not everything and not limit and "status" not in filters and "exited" not in filters:
        seen = [one for one in seen if pending.is_up(one.state)]
    chosen = [one for one in seen if all(test(one) for test in tests)]
    return [summary(context, one, size=size) for one in chosen[: limit or None]]


def _observe_all(context: Context) -> list[Seen]:
    """Every whole container as it is; what died unseen is written down and cleaned up."""
    seen = []
    records = context.store.containers.all()
    networks = context.store.endpoints.networks_by_container()
    ports = context.store.endpoints.ports_by_container()
    holders = context.store.endpoints.all_holders()
    sweep_orphans(context, set(context.store.containers.ids()))
    for record in records:
        if record.status in ("creating", "removing"):
            settle_lost(context, record.id)
            continue
        state = observe.observe(context, record)
        changed = state is not record.state or record.id in holders
        if changed and not observe.is_live(state):
            settle_lost(context, record.id)
            if record.host_config["AutoRemove"] and context.find(record.id) is None:
                continue
        shown = pending.shown(context, record, state)
        mine = ports.get(record.id, ()) if observe.is_live(state) else ()
        mode = record.host_config["NetworkMode"]
        on = networks.get(record.id, ()) if modes.has_networks(mode) else (mode,)
        seen.append(Seen(record, shown, on, mine))
    return seen


def summary(context: Context, seen: Seen, *, size: bool = False) -> dict[str, Any]:
    """One entry of the listing."""
    record, state = seen.record, seen.state
    config, host = record.config, record.host_config
    words = command_words(record)
    entry: dict[str, Any] = {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": config["Image"],
        "ImageID": record.image_id,
        "Command": " ".join(words),
        "Created": clock.parse_ns(record.created_at) // 1_000_000_000,
        "CreatedAt": record.created_at,
        "Ports": _ports(seen),
        "Labels": config["Labels"],
        "State": state["Status"],
        "Status": status.describe(state, _health_of_live(context, seen)),
        "HostConfig": {"NetworkMode": host["NetworkMode"]},
        "NetworkSettings": {"Networks": {name: {} for name in seen.networks}},
        "Mounts": record.details.get("mounts", []),
    }
    if size:
        from runengine.mgr.container import sizes

        entry["SizeRw"], entry["SizeRootFs"], _ = sizes.of_container(context, record)
    return entry


def _health_of_live(context: Context, seen: Seen) -> str:
    """What the listing shows; an ended container's is not even looked up."""
    if not observe.is_live(seen.state):
        return health.NONE
    return health.status(context, seen.record, seen.state)


def _ports(seen: Seen) -> list[dict[str, Any]]:
    """Published and exposed ports of a running container; most have neither."""
    if not observe.is_live(seen.state) or not (seen.ports or seen.record.config["ExposedPorts"]):
        return []
    if seen.record.host_config["NetworkMode"].startswith(f"{modes.CONTAINER}:"):
        return []
    from runengine.mgr.network import settings

    return settings.listed_ports(seen.record, seen.ports)


def command_words(record: Record) -> list[str]:
    """Entrypoint and command as one argv."""
    return [*(record.config["Entrypoint"] or []), *(record.config["Cmd"] or [])]


def _compile(context: Context, key: str, values: Sequence[str]) -> Callable[[Seen], bool]:
    """One test for a filter key: values are alternatives, but every label must hold."""
    if key not in _FILTERS:
        known = " ".join(sorted(_FILTERS))
        raise InvalidParameter(f"invalid filter {key!r}", resolution=f"filters are: {known}")
    tests = [_FILTERS[key](context, value) for value in values]
    join = all if key == "label" else any
    return lambda seen: join(test(seen) for test in tests)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidParameter(f"filter {text!r} is no regular expression: {error}") from None


def _by_id(_: Context, value: str) -> Callable[[Seen], bool]:
    pattern = _pattern(value)
    return lambda seen: pattern.search(seen.record.id) is not None


def _by_name(_: Context, value: str) -> Callable[[Seen], bool]:
    pattern = _pattern(value)
    return lambda seen: (
        pattern.search(seen.record.name) is not None
        or pattern.search(f"/{seen.record.name}") is not None
    )


def _by_label(_: Context, value: str) -> Callable[[Seen], bool]:
    key, equals, wanted = value.partition("=")
    if equals and key.endswith("!"):
        key = key[:-1]
        return lambda seen: seen.record.config["Labels"].get(key, wanted) != wanted
    return lambda seen: (
        key in seen.record.config["Labels"]
        and (not equals or seen.record.config["Labels"][key] == wanted)
    )


def _by_status(_: Context, value: str) -> Callable[[Seen], bool]:
    if value not in STATUSES:
        words = " ".join(sorted(STATUSES))
        raise InvalidParameter(f"invalid filter 'status={value}'", resolution=f"one of {words}")
    wanted = "exited" if value == "stopped" else value
    return lambda seen: seen.state["Status"] == wanted


def _by_exit_code(_: Context, value: str) -> Callable[[Seen], bool]:
    if not value.lstrip("-").isdigit():
        raise InvalidParameter(f"invalid filter 'exited={value}': expected an exit code")
    code = int(value)
    return lambda seen: seen.state["Status"] == "exited" and seen.state["ExitCode"] == code


def _by_ancestor(context: Context, value: str) -> Callable[[Seen], bool]:
    try:
        image = context.images.lookup(value)
    except NotFound:
        return lambda seen: seen.record.config["Image"] == value
    depth = len(image.layers)
    return lambda seen: (
        seen.record.image_id == image.image_id
        or (depth > 0 and seen.record.layers[:depth] == image.layers)
    )


def _by_age(*, older: bool) -> Callable[[Context, str], Callable[[Seen], bool]]:
    def compile_one(context: Context, value: str) -> Callable[[Seen], bool]:
        border = context.store.containers.get(context.resolve(value)).created_at
        if older:
            return lambda seen: seen.record.created_at < border
        return lambda seen: seen.record.created_at > border

    return compile_one


def _by_volume(_: Context, value: str) -> Callable[[Seen], bool]:
    return lambda seen: any(
        value in (mount.get("Source"), mount.get("Destination"), mount.get("Name"))
        for mount in seen.record.details.get("mounts", [])
    )


def _by_network(context: Context, value: str) -> Callable[[Seen], bool]:
    """By a network's name or id; also one that is no more, by the name it had."""
    name = value
    if modes.has_networks(value):
        with suppress(NotFound):
            name = context.networks.get(value).name
    return lambda seen: name in seen.networks or seen.record.host_config["NetworkMode"] == value


def _by_published(_: Context, value: str) -> Callable[[Seen], bool]:
    wanted = _port_range(value, "publish")
    return lambda seen: any(
        port.protocol == wanted[2]
        and port.container_port <= wanted[1]
        and port.container_port + port.count > wanted[0]
        for port in seen.ports
    )


def _by_exposed(_: Context, value: str) -> Callable[[Seen], bool]:
    first, last, protocol = _port_range(value, "expose")
    wanted = {f"{number}/{protocol}" for number in range(first, last + 1)}
    return lambda seen: not wanted.isdisjoint(seen.record.config["ExposedPorts"])


def _port_range(value: str, key: str) -> tuple[int, int, str]:
    """``PORT[-PORT][/PROTOCOL]``."""
    from runengine.mgr.network.port_wishes import parse_port

    ports, _, protocol = value.partition("/")
    first, _, last = ports.partition("-")
    try:
        low, protocol = parse_port(f"{first}/{protocol}")
        high, _ = parse_port(last or first)
    except InvalidParameter:
        high, low = 0, 1
    if high < low:
        raise InvalidParameter(
            f"invalid filter '{key}={value}'", resolution="expected PORT[-PORT][/PROTOCOL]"
        )
    return low, high, protocol


def _by_health(context: Context, value: str) -> Callable[[Seen], bool]:
    if value not in HEALTH:
        words = " ".join(sorted(HEALTH))
        raise InvalidParameter(f"invalid filter 'health={value}'", resolution=f"one of {words}")
    return lambda seen: health.status(context, seen.record, seen.state) == value


_FILTERS: dict[str, Callable[[Context, str], Callable[[Seen], bool]]] = {
    "id": _by_id,
    "name": _by_name,
    "label": _by_label,
    "status": _by_status,
    "exited": _by_exit_code,
    "ancestor": _by_ancestor,
    "before": _by_age(older=True),
    "since": _by_age(older=False),
    "volume": _by_volume,
    "network": _by_network,
    "publish": _by_published,
    "expose": _by_exposed,
    "health": _by_health,
}
