"""What the resolver knows: a table per network, a file each in ``<state>/dns``.

The managers write a network's table whenever something on it starts, stops, connects or leaves,
always whole and from the database, so one that a crash left behind is put right by the next.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, StateError
from runengine.linux import fsatomic, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

SUFFIX = ".json"
LOCK_SUFFIX = ".lock"


class Host(NamedTuple):
    """A container on the network."""

    container_id: str
    names: tuple[str, ...]
    """What it is found by: its name first, which answers the question for an address, then
    aliases and short id."""
    addresses: tuple[str, ...]
    """Its own on this network, without prefix lengths."""
    upstream: tuple[str, ...] = ()
    """Where its questions about the rest of the world go (``--dns``); empty: as the network's."""
    links: tuple[tuple[str, str], ...] = ()
    """Names that only this container uses (``--link``), each with the other container's id."""


class Table(NamedTuple):
    """A network whose containers find each other by name."""

    network_id: str
    name: str
    gateways: tuple[str, ...]
    """The host's addresses on it, without prefix lengths: there the resolver listens."""
    subnets: tuple[str, ...]
    """Only who asks from one of these, or from a container's address, is answered."""
    hosts: tuple[Host, ...] = ()
    upstream: tuple[str, ...] | None = None
    """Servers for all other names; None: those of the host's resolv.conf."""
    internal: bool = False
    """Nothing is asked of upstream servers for it."""


def path_of(directory: str, network_id: str) -> str:
    """The file of a network's table. Raises InvalidParameter for an id that is no file name."""
    if not network_id or "/" in network_id or network_id.startswith("."):
        raise InvalidParameter(f"invalid network id {network_id!r}")
    return f"{directory}/{network_id}{SUFFIX}"


def write(directory: str, table: Table) -> None:
    """Put the table in force, whole; the directory is made if it is missing."""
    path = path_of(directory, table.network_id)
    document = table._asdict() | {"hosts": [host._asdict() for host in table.hosts]}
    try:
        fsatomic.replace_json(path, document, durable=False)
    except FileNotFoundError:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        fsatomic.replace_json(path, document, durable=False)


def ids(directory: str) -> list[str]:
    """Ids of the networks that have a table, sorted."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def remove(directory: str, network_id: str) -> None:
    """Take the table away; no error if there is none."""
    for suffix in (SUFFIX, LOCK_SUFFIX):
        with suppress(FileNotFoundError):
            os.unlink(path_of(directory, network_id).removesuffix(SUFFIX) + suffix)


@contextmanager
def locked(directory: str, network_id: str) -> Iterator[None]:
    """Be the only one who writes down what a network's containers are called."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with locks.locked(path_of(directory, network_id).removesuffix(SUFFIX) + LOCK_SUFFIX):
        yield


def update(directory: str, network_id: str, make: Callable[[], Table | None]) -> None:
    """Write what ``make`` says, or remove the table if that is None.

    ``make`` reads the database while nobody else does so for this network: of two containers
    that start at once the later writer has seen both.
    """
    with locked(directory, network_id):
        table = make()
        if table is None:
            remove(directory, network_id)
        else:
            write(directory, table)


def read(path: str) -> Table:
    """The table in a file. Raises FileNotFoundError, or StateError if it is damaged."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return _table(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StateError(f"damaged table of names {path}", details=repr(error)) from None


def _table(document: dict[str, Any]) -> Table:
    # What has a default may be missing: another version of the engine may have written it.
    upstream = document.get("upstream")
    return Table(
        _text(document["network_id"]),
        _text(document["name"]),
        _texts(document["gateways"]),
        _texts(document["subnets"]),
        tuple(_host(host) for host in document["hosts"]),
        None if upstream is None else _texts(upstream),
        bool(document.get("internal")),
    )


def _host(document: dict[str, Any]) -> Host:
    return Host(
        _text(document["container_id"]),
        _texts(document["names"]),
        _texts(document["addresses"]),
        _texts(document.get("upstream", [])),
        tuple((_text(name), _text(container)) for name, container in document.get("links", [])),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"not a list: {values!r}")
    return tuple(_text(value) for value in values)


def files(directory: str) -> list[str]:
    """Paths of all tables, in the order of their names."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def read_all(directory: str) -> list[Table]:
    """Every table that can be read."""
    found = []
    for path in files(directory):
        with suppress(FileNotFoundError, StateError):
            found.append(read(path))
    return found
