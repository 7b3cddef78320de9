"""What may stand at a place of a command line: names of objects, and values that options take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runengine.cli.completing import Place

    AnyEngine = Any
    Opener = Callable[[], AnyEngine | None]
    """Opens the engine, or says by None that there is none to ask."""


class Offer(NamedTuple):
    """A word and what it is; one that begins with a colon is for the shell."""

    word: str
    what: str = ""


FILES = Offer(":files")
DIRECTORIES = Offer(":directories")

# Kinds of each argument of a command, by its place in the table of commands; the last one is that
# of all that follow if "..." comes after it. Where the table ends the shell offers files.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "archives:export": ("container",),
    "build:build": ("directories",),
    "archives:save": ("image", "..."),
    "checkpoint:create": ("running",),
    "checkpoint:ls": ("container",),
    "checkpoint:rm": ("container", "checkpoint"),
    "commit:commit": ("container", "image"),
    "commit:diff": ("container",),
    "container_checkpoint:checkpoint": ("running", "..."),
    "container_checkpoint:restore": ("stopped", "..."),
    "completion:completion": ("shell",),
    "copy:cp": ("path", "path"),
    "generate:systemd": ("container",),
    "healthcheck:run": ("running",),
    "history:history": ("image",),
    "image_load:import_image": ("files", "image"),
    "image_names:exists": ("image",),
    "image_names:rmi": ("image", "..."),
    "image_names:tag": ("image", "image"),
    "image_names:untag": ("image", "..."),
    "image_list:images": ("image",),
    "image_verify:verify": ("image", "..."),
    "images:pull": ("image",),
    "inspect:inspect": ("object", "..."),
    "inspect:inspect_container": ("container", "..."),
    "inspect:inspect_image": ("image", "..."),
    "inspect:inspect_network": ("network", "..."),
    "inspect:inspect_volume": ("volume", "..."),
    "lifecycle:exists": ("container",),
    "lifecycle:kill": ("running", "..."),
    "lifecycle:pause": ("running", "..."),
    "lifecycle:rename": ("container",),
    "lifecycle:restart": ("container", "..."),
    "lifecycle:rm": ("container", "..."),
    "lifecycle:start": ("stopped", "..."),
    "lifecycle:stop": ("running", "..."),
    "lifecycle:unpause": ("paused", "..."),
    "lifecycle:wait": ("container", "..."),
    "logs:logs": ("container",),
    "manifest:inspect": ("image",),
    "mounts:mount": ("container", "..."),
    "mounts:unmount": ("container", "..."),
    "network:connect": ("network", "container"),
    "network:create": ("nothing",),
    "network:disconnect": ("network", "container"),
    "network:exists": ("network",),
    "network:reload": ("network", "..."),
    "network:rm": ("network", "..."),
    "port:port": ("running",),
    "registry_artifact:ls": ("nothing",),
    "registry_artifact:pull": ("nothing",),
    "registry_artifact:push": ("nothing", "files", "..."),
    "registry_explain:explain": ("image",),
    "registry_login:login": ("registry",),
    "registry_login:logout": ("registry",),
    "registry_search:search": ("nothing",),
    "registry_push:push": ("image",),
    "run:create": ("image",),
    "run:run": ("image",),
    "spec:spec": ("image",),
    "stats:stats": ("running", "..."),
    "streams_commands:attach": ("running",),
    "streams_commands:exec_command": ("running",),
    "top:top": ("running",),
    "update:update": ("container", "..."),
    "upgrade:upgrade": ("container",),
    "volume:create": ("nothing",),
    "volume:exists": ("volume",),
    "volume_archive:export": ("volume",),
    "volume_archive:import_files": ("volume",),
    "volume:rm": ("volume", "..."),
}
# Kinds of the values of options that mean the same in every command that has them.
VALUES: dict[str, tuple[str, ...]] = {
    "--authfile": ("files",),
    "--builder": ("builder",),
    "--bundle": ("directories",),
    "--cap-add": ("capability",),
    "--cap-drop": ("capability",),
    "--cgroupns": ("own_or_host",),
    "--checkpoint": ("any_checkpoint",),
    "--checkpoint-dir": ("directories",),
    "--cidfile": ("files",),
    "--compression-format": ("compression",),
    "--condition": ("condition",),
    "--config": ("directories",),
    "--device": ("files",),
    "--env-file": ("files",),
    "--export": ("files",),
    "--filter": ("filter",),
    "--format": ("format",),
    "--gpus": ("gpus",),
    "--iidfile": ("files",),
    "--import": ("files",),
    "--input": ("files",),
    "--ipc": ("ipc", "joined"),
    "--label-file": ("files",),
    "--log-driver": ("log_driver",),
    "--network": ("network", "joined"),
    "--output": ("files",),
    "--pid": ("host", "joined"),
    "--profile": ("profile",),
    "--pull": ("pull",),
    "--restart": ("restart",),
    "--root": ("directories",),
    "--runtime": ("runtime",),
    "--security-opt": ("security",),
    "--signal": ("signal",),
    "--state": ("directories",),
    "--stop-signal": ("signal",),
    "--systemd": ("systemd",),
    "--type": ("type",),
    "--userns": ("userns", "joined"),
    "--uts": ("host", "joined"),
    "--volume": ("volume_source",),
    "--volume-driver": ("volume_driver",),
    "--volumes-from": ("container",),
    "--cgroup-manager": ("cgroup_driver",),
}
# The same where a name means different things.
OWN_VALUES: dict[tuple[str, str], tuple[str, ...]] = {
    ("archives:save", "--format"): ("archive",),
    ("build:build", "--file"): ("files",),
    ("build:build", "--pull"): (),
    ("image_list:images", "--sort"): ("image_order",),
    ("network:create", "--driver"): ("network_driver",),
    ("ps:ps", "--sort"): ("container_order",),
    ("run:create", "--attach"): ("stream",),
    ("run:run", "--attach"): ("stream",),
    ("volume:create", "--driver"): ("volume_driver",),
}
WORDS: dict[str, tuple[str, ...]] = {
    "archive": ("docker-archive", "oci-archive"),
    "builder": ("buildah", "buildctl", "docker-buildx"),
    "cgroup_driver": ("cgroupfs", "systemd"),
    "compression": ("gzip", "zstd"),
    "condition": ("next-exit", "not-running", "removed"),
    "container_order": (
        "command", "created", "id", "image", "names", "runningfor", "size", "status"
    ),
    "format": ("json", "table"),
    "gpus": ("all",),
    "host": ("host",),
    "image_order": ("created", "id", "repository", "size", "tag"),
    "ipc": ("host", "none", "private", "shareable"),
    "log_driver": ("cri", "json-file", "journald", "none", "passthrough"),
    "network_driver": ("bridge", "ipvlan", "macvlan"),
    "nothing": (),
    "own_or_host": ("host", "private"),
    "profile": ("bench",),
    "pull": ("always", "missing", "never", "newer"),
    "restart": ("always", "no", "on-failure", "on-failure:", "unless-stopped"),
    "runtime": ("crun", "runc"),
    "security": (
        "apparmor=", "label=", "mask=", "no-new-privileges", "seccomp=", "systempaths=unconfined",
        "unmask=", "writable-cgroups",
    ),
    "shell": ("bash", "fish", "zsh"),
    "stream": ("stderr", "stdin", "stdout"),
    "systemd": ("always", "false", "true"),
    "type": ("container", "image", "network", "volume"),
    "userns": ("auto", "auto:size=", "host"),
    "volume_driver": ("local", "tmpfs"),
}
_AGE = ("label", "until")
FILTERS: dict[str, tuple[str, ...]] = {
    "events:events": (
        "container", "event", "image", "label", "network", "scope", "type", "volume"
    ),
    "image_list:images": ("before", "dangling", "label", "reference", "since", "until"),
    "network:ls": ("dangling", "driver", "id", "label", "name", "scope", "type"),
    "network:prune": _AGE,
    "ps:ps": (
        "ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network",
        "publish", "since", "status", "volume",
    ),
    "prune:container_prune": _AGE,
    "prune:image_prune": (*_AGE, "dangling"),
    "prune:system_prune": _AGE,
    "registry_search:search": ("is-automated", "is-official", "stars"),
    "volume:ls": ("dangling", "driver", "label", "name"),
    "volume:prune": ("all", "label"),
}
_DOWN = ("created", "exited", "dead")


def offers(place: Place, opener: Opener) -> list[Offer]:
    """What may stand there. What cannot be found out is not offered."""
    kinds = _kinds(place)
    if kinds is None:
        return [FILES]
    found: list[Offer] = []
    for kind in kinds:
        try:
            found += _of_kind(kind, place, opener)
        except (EngineError, OSError):
            continue
    return found


def _kinds(place: Place) -> tuple[str, ...] | None:
    if place.option is not None:
        for name in place.option.opts:
            own = OWN_VALUES.get((place.target, name), VALUES.get(name))
            if own is not None:
                return own
        return ()
    arguments = ARGUMENTS.get(place.target, ())
    number = len(place.arguments)
    if arguments[-1:] == ("...",):
        return (arguments[min(number, len(arguments) - 2)],)
    return (arguments[number],) if number < len(arguments) else None


def _of_kind(kind: str, place: Place, opener: Opener) -> Iterable[Offer]:
    if kind in WORDS:
        return [Offer(word) for word in WORDS[kind]]
    if kind in _PLAIN:
        return _PLAIN[kind](place)
    engine = opener()
    return _ASKED[kind](engine, place.arguments) if engine is not None else ()


def _filters(place: Place) -> Iterator[Offer]:
    from runengine.mgr.container.listing import HEALTH, STATUSES

    # Verbs that take a filter find their containers as ps does.
    target = place.target if place.target in FILTERS else "ps:ps"
    for name in FILTERS[target]:
        yield Offer(f"{name}=")
    if target == "ps:ps" and "=" in place.current:
        yield from (Offer(f"status={word}") for word in sorted(STATUSES))
        yield from (Offer(f"health={word}") for word in sorted(HEALTH))


def _capabilities(_place: Place) -> Iterator[Offer]:
    from runengine.linux.kernel import CAPABILITIES

    yield Offer("ALL")
    yield from (Offer(name.removeprefix("CAP_")) for name in sorted(CAPABILITIES))


def _registries(_place: Place) -> Iterator[Offer]:
    from runengine.cli import client_config

    return (Offer(one, "logged in") for one in client_config.logins())


def _signals(_place: Place) -> Iterator[Offer]:
    import signal

    return (Offer(one.name.removeprefix("SIG")) for one in signal.Signals)


def _containers(states: tuple[str, ...] = ()) -> Callable[[AnyEngine, Iterable[str]], Any]:
    def ask(engine: AnyEngine, taken: Iterable[str]) -> Iterator[Offer]:
        for entry in engine.containers.list(all=True):
            name = str(entry["Names"][0]).removeprefix("/")
            if name not in taken and (not states or entry["State"] in states):
                yield Offer(name, f"{entry['Image']}, {entry['Status']}")

    return ask


def _images(engine: AnyEngine, taken: Iterable[str]) -> Iterator[Offer]:
    from runengine.cli.units import human_size

    for entry in engine.images.list():
        for name in entry["RepoTags"] or ():
            if name not in taken:
                yield Offer(name, human_size(entry["Size"], 3))


def _checkpoints(engine: AnyEngine, taken: Iterable[str]) -> Iterator[Offer]:
    """Those of the container that is named already."""
    for container in taken:
        for name in engine.containers.list_checkpoint(container):
            yield Offer(name)


def _all_checkpoints(engine: AnyEngine, _taken: Iterable[str]) -> Iterator[Offer]:
    """An option comes before the container is named."""
    for entry in engine.containers.list(all=True):
        for name in engine.containers.list_checkpoint(entry["Id"]):
            yield Offer(name, str(entry["Names"][0]).removeprefix("/"))


def _networks(engine: AnyEngine, taken: Iterable[str]) -> Iterator[Offer]:
    for entry in engine.networks.list():
        if entry["Name"] not in taken:
            yield Offer(entry["Name"], f"network, {entry['Driver']}")


def _volumes(engine: AnyEngine, taken: Iterable[str]) -> Iterator[Offer]:
    for entry in engine.volumes.list():
        if entry["Name"] not in taken:
            yield Offer(entry["Name"], f"volume, {entry['Driver']}")


def _objects(engine: AnyEngine, taken: Iterable[str]) -> Iterator[Offer]:
    for ask in (_containers(), _images, _networks, _volumes):
        yield from ask(engine, taken)


def _with_colon(
    ask: Callable[[AnyEngine, Iterable[str]], Iterator[Offer]],
) -> Callable[[AnyEngine, Iterable[str]], Iterator[Offer]]:
    def asked(engine: AnyEngine, _taken: Iterable[str]) -> Iterator[Offer]:
        for word, what in ask(engine, ()):
            yield Offer(f"{word}:", what)
        yield FILES

    return asked


def _joined(engine: AnyEngine, _taken: Iterable[str]) -> Iterator[Offer]:
    for word, what in _containers(("running", "paused"))(engine, ()):
        yield Offer(f"container:{word}", what)


_PLAIN: dict[str, Callable[[Place], Iterable[Offer]]] = {
    "capability": _capabilities,
    "directories": lambda _: [DIRECTORIES],
    "files": lambda _: [FILES],
    "filter": _filters,
    "registry": _registries,
    "signal": _signals,
}
_ASKED: dict[str, Callable[[AnyEngine, Iterable[str]], Iterable[Offer]]] = {
    "any_checkpoint": _all_checkpoints,
    "checkpoint": _checkpoints,
    "container": _containers(),
    "image": _images,
    "joined": _joined,
    "network": _networks,
    "object": _objects,
    "path": _with_colon(_containers()),
    "paused": _containers(("paused",)),
    "running": _containers(("running", "paused", "restarting")),
    "stopped": _containers(_DOWN),
    "volume": _volumes,
    "volume_source": _with_colon(_volumes),
}
