"""The OCI runtime of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import Unavailable

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.runtime.abilities import Abilities
    from runengine.runtime.runc import Runtime
    from runengine.store.containers import Record


def runtime_argv(context: Context, name: str) -> list[str]:
    """Start of every command line of the named runtime, its binary found and ``--root`` given.

    Raises Unavailable with what to install or to configure.
    """
    from runengine.runtime import runc

    if name not in context.config.runtimes:
        raise Unavailable(
            f"no runtime {name!r} is configured any more",
            resolution="put it back under runtimes in the configuration file",
        )
    program, *arguments = context.config.runtimes[name]
    return [runc.find(program), *arguments, "--root", context.paths.runtime_root]


def argv_of(context: Context, record: Record) -> list[str]:
    """Start of every command line for this container, by the driver that it was made with."""
    words = runtime_argv(context, record.host_config["Runtime"])
    by_systemd = record.details.get("cgroup_driver") == "systemd"
    return [*words, "--systemd-cgroup"] if by_systemd else words


def runtime_of(context: Context, record: Record) -> Runtime:
    """The runtime that runs this container."""
    from runengine.runtime import runc

    return runc.Runtime(argv_of(context, record))


def abilities_of(context: Context, record: Record) -> Abilities:
    """What that runtime can do; the defaults where it is not there, which a start finds out."""
    return abilities(context, record.host_config["Runtime"])


def abilities(context: Context, name: str) -> Abilities:
    """What the runtime of this name can do."""
    from runengine.runtime import abilities as asking
    from runengine.runtime import runc

    try:
        words = runtime_argv(context, name)
    except Unavailable:
        return asking.Abilities()
    note = f"{context.paths.state}/features-{name}.json"
    return asking.known(words[0], note, lambda: runc.Runtime(words).features())
