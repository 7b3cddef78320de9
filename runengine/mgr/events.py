"""Writing events down: what happened to which object, for ``events`` and the metrics.

Reading them is ``event_stream``'s, which the commands that only write never load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.monitor import journal

if TYPE_CHECKING:
    from runengine.store.containers import Record
    from runengine.store.network_types import Network
    from runengine.store.volumes import Volume

UNKNOWN = "unknown"
"""Exit code of an end that nobody saw: never a number that could be taken for one."""


class Events:
    """The engine's journal, for those who act. Nothing here raises: an action never fails by it.

    ``began_ns`` is ``time.monotonic_ns()`` of the action's begin, for its latency.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def container(
        self, action: str, record: Record, *, began_ns: int | None = None, **extra: str
    ) -> None:
        """An action on a container; ``extra`` are attributes beside labels, image and name."""
        self._append("container", action, record.id, attributes(record) | extra, began_ns)

    def image(
        self,
        action: str,
        image_id: str,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        began_ns: int | None = None,
    ) -> None:
        """An action on an image; ``name`` as Docker shows it."""
        self._append("image", action, image_id, {**(labels or {}), "name": name}, began_ns)

    def network(self, action: str, network: Network, **extra: str) -> None:
        """An action on a network, such as ``connect`` with the attribute ``container``."""
        attributes = {**extra, "name": network.name, "type": network.driver}
        self._append("network", action, network.id, attributes, None)

    def volume(self, action: str, volume: Volume, **extra: str) -> None:
        """An action on a volume, such as ``mount`` with the attribute ``container``."""
        self._append("volume", action, volume.name, {**extra, "driver": volume.driver}, None)

    def pruned(self, kind: str, reclaimed_bytes: int = 0) -> None:
        """Objects of a kind that nobody needed were removed."""
        self._append(kind, "prune", "", {"reclaimed": str(reclaimed_bytes)}, None)

    def died(self, record: Record) -> None:
        """The end of a run that nobody saw, by whoever finds it."""
        self.container("die", record, exitCode=UNKNOWN)
        for name, driver in _volumes(record):
            attributes = {"container": record.id, "driver": driver}
            self._append("volume", "unmount", name, attributes, None)

    def mounted(self, record: Record) -> None:
        """A container starts with its volumes; the monitor writes down that they are let go."""
        told = [
            journal.message("volume", "mount", mount["Name"], _mount_attributes(record, mount))
            for mount in record.details.get("mounts", ())
            if "Name" in mount
        ]
        if told:
            journal.append(self.path, *told)

    def for_job(self, record: Record, began_ns: int | None = None) -> dict[str, object]:
        """What a monitor has to know to write down its container's events."""
        return {
            "path": self.path,
            "attributes": attributes(record),
            "began_ns": began_ns,
            "volumes": _volumes(record),
        }

    def _append(
        self,
        kind: str,
        action: str,
        actor: str,
        attributes: dict[str, str],
        began_ns: int | None,
    ) -> None:
        document = journal.message(kind, action, actor, attributes, began_ns=began_ns)
        journal.append(self.path, document)


def _mount_attributes(record: Record, mount: dict[str, Any]) -> dict[str, str]:
    return {
        "container": record.id,
        "destination": mount["Destination"],
        "driver": mount["Driver"],
        "propagation": mount["Propagation"],
        "read/write": "true" if mount["RW"] else "false",
    }


def _volumes(record: Record) -> list[tuple[str, str]]:
    """Names and drivers of the volumes that a container mounts."""
    mounts = record.details.get("mounts", ())
    named = [(one["Name"], one["Driver"]) for one in mounts if "Name" in one]
    return list(dict.fromkeys(named))


def attributes(record: Record) -> dict[str, str]:
    """Docker's attributes of a container: its labels, then its image and name."""
    labels = record.config["Labels"] or {}
    return {**labels, "image": record.config["Image"], "name": record.name}
