"""Starting a container with the processes of a checkpoint instead of its program.

Everything else is as in any start: root, network, spec, monitor. The runtime's ``restore`` takes
the place of its ``run``, and CRIU gives the processes the monitor's new pipes for the old ones.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cgroups import layout
from runengine.errors import Conflict, EngineError, Unsupported
from runengine.linux import fsatomic
from runengine.mgr.container import checkpoint_places as places
from runengine.mgr.container.context import discard_directory, make_private_directory
from runengine.runtime import criu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.context import Context
    from runengine.monitor.protocol import Restore
    from runengine.store.containers import Record
    from runengine.store.network_types import ReservedEndpoint


COMMON = ("--ext-unix-sk",)
"""Sockets such as /dev/log may lead out of the container."""


class Wanted(NamedTuple):
    """Which checkpoint a container is to go on from."""

    name: str
    directory: str = ""
    """Where it is, an absolute path; empty: with the container."""
    tcp_established: bool = False
    """Let connections go on; so do those of a checkpoint that was made with them."""
    file_locks: bool = False
    ignore_addresses: bool = False
    """Let it have other addresses than it had."""


class Revival:
    """A start from a checkpoint."""

    def __init__(self, checkpoint: places.Checkpoint, wanted: Wanted) -> None:
        self.checkpoint = checkpoint
        note = checkpoint.note
        self._tcp_established = wanted.tcp_established or note.tcp_established
        self._file_locks = wanted.file_locks or note.file_locks

    @staticmethod
    def follow_links(spec: dict[str, Any]) -> None:
        """Name what is bound by where it is: CRIU takes a link for the file itself."""
        for mount in spec["mounts"]:
            if mount.get("type") == "bind" or "rbind" in mount.get("options", ()):
                mount["source"] = os.path.realpath(mount["source"])

    def job(
        self, context: Context, record: Record, endpoints: Sequence[ReservedEndpoint]
    ) -> Restore:
        """The monitor's part. Raises Conflict if connections would be of another address."""
        if self._tcp_established:
            self._require_addresses(record, endpoints)
        work = _work(context, record)
        discard_directory(work)
        make_private_directory(work)
        flags = {"--tcp-established": self._tcp_established, "--file-locks": self._file_locks}
        return {
            "images": self.checkpoint.directory,
            "work": work,
            "settings": self._write_settings(record, work),
            "options": [*COMMON, *(flag for flag, is_set in flags.items() if is_set)],
        }

    def _write_settings(self, record: Record, work: str) -> str:
        """On a unified hierarchy runc leaves CRIU to make the cgroup of the checkpoint again."""
        text, path = "", f"{work}/settings"
        host = layout.detect()
        if host.version == 2:
            group = record.details["cgroup"][layout.UNIFIED]
            text = f"cgroup-root {group.removeprefix(host.mounts[layout.UNIFIED])}\n"
        fsatomic.replace(path, text.encode(), durable=False)
        return path

    def _require_addresses(
        self, record: Record, endpoints: Sequence[ReservedEndpoint]
    ) -> None:
        has = {address for one in endpoints for address in (one.ip, one.ip6)}
        for former in self.checkpoint.note.addresses:
            lost = [ip for ip in (former.ip, former.ip6) if ip and ip not in has]
            if lost:
                raise Conflict(
                    f"container {record.name} cannot have its address {lost[0]} of network"
                    f" {former.network} again, so its connections cannot go on",
                    resolution="stop what has the address, or connect the container to it",
                )

    def explained(self, context: Context, record: Record, error: EngineError) -> EngineError:
        """The error with what CRIU says."""
        log = fsatomic.read_optional(f"{_work(context, record)}/{criu.RESTORE_LOG}")
        return criu.explained(error, log or b"")

    def done(self, context: Context, record: Record, began_ns: int) -> None:
        """The processes run."""
        name = self.checkpoint.note.name
        context.events.container("restore", record, began_ns=began_ns, checkpoint=name)


def _work(context: Context, record: Record) -> str:
    return f"{context.state_dir(record.id)}/criu"


def stats_of(context: Context, container_id: str) -> bytes:
    """What CRIU has counted at the container's last restore in this boot; empty if nothing."""
    directory = f"{context.state_dir(container_id)}/criu"
    return fsatomic.read_optional(f"{directory}/{criu.RESTORE_STATS}") or b""


def find(context: Context, record: Record, wanted: Wanted) -> Revival:
    """The checkpoint to start the container from, whose lock is held.

    Raises NotFound, Conflict (of another image), Unsupported (a terminal), Unavailable (no criu).
    """
    criu.require()
    if record.config["Tty"]:
        raise Unsupported(
            f"container {record.name} has a terminal, which no checkpoint brings back",
            resolution="create it without -t",
        )
    parent = places.folder(context, record.id, wanted.directory)
    places.sweep(record.id, parent)
    found = places.find(record, parent, wanted.name)
    if found.note.image_id not in ("", record.image_id):
        raise Conflict(
            f"checkpoint {wanted.name} is of a container of another image:"
            f" {found.note.image_id[:19]}, and {record.name} has {record.image_id[:19]}"
        )
    if wanted.ignore_addresses:
        found = found._replace(note=found.note._replace(addresses=()))
    return Revival(found, wanted)
