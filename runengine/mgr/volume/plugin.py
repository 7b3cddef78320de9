"""Volumes that a plugin keeps (Docker's volume plugin protocol).

Source: Docker documentation, "Docker volume plugins" and "Docker Plugin API".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runengine.errors import Unavailable
from runengine.mgr.volume.plugin_calls import call
from runengine.mgr.volume.plugin_sockets import Sockets

if TYPE_CHECKING:
    from typing import Self

    from runengine.mgr.volume.context import VolumeContext
    from runengine.store.volumes import Volume

WORK_TIMEOUT_S = 60.0
"""Making and mounting may take a plugin a while; only those who want its volumes wait."""
LOOK_TIMEOUT_S = 2.0
"""Looking must not keep a listing."""
KIND = "VolumeDriver"


class PluginDriver:
    """A plugin. See ``drivers.Driver`` for what each method is to do.

    Every method raises Unavailable with the plugin's own words, and TimedOut if it hangs.
    """

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._path = path
        self._is_active = False

    @classmethod
    def find(cls, context: VolumeContext, name: str) -> Self:
        """The plugin with this name; it is not asked anything yet. Raises NotFound."""
        return cls(name, sockets(context).find(name))

    @property
    def scope(self) -> str:
        """What the plugin says of itself; ``local`` if it says nothing."""
        try:
            told = self._call("VolumeDriver.Capabilities", {}, LOOK_TIMEOUT_S)
        except Unavailable:  # older ones do not know the question
            return "local"
        capabilities = told.get("Capabilities")
        scope = capabilities.get("Scope") if isinstance(capabilities, dict) else ""
        return "global" if scope == "global" else "local"

    def check(self, volume: Volume) -> None:
        """Whether it is one, and one for volumes: what the options may be only it knows."""
        del volume
        self._activate(WORK_TIMEOUT_S)

    def create(self, volume: Volume) -> None:
        """Have it make the volume."""
        self._call("VolumeDriver.Create", {"Name": volume.name, "Opts": volume.options})

    def remove(self, volume: Volume) -> None:
        """Have it remove the volume, unless it says that it has none."""
        if self._look(volume.name) is not None:
            self._call("VolumeDriver.Remove", {"Name": volume.name})

    def path(self, volume: Volume) -> str:
        """Where it has mounted the volume, if it has."""
        found = self._look(volume.name) or {}
        return str(found.get("Mountpoint") or "")

    def must_mount(self, volume: Volume) -> bool:
        """Always: it wants to know who uses its volumes."""
        del volume
        return True

    def copies(self, volume: Volume) -> bool:
        """As the local driver does."""
        del volume
        return True

    def mount(self, volume: Volume, container_id: str) -> str:
        """Have it mount the volume; where."""
        answer = self._call("VolumeDriver.Mount", {"Name": volume.name, "ID": container_id})
        place = answer.get("Mountpoint")
        if not isinstance(place, str) or not place.startswith("/") or not os.path.isdir(place):
            raise Unavailable(
                f"volume driver {self._name}: {volume.name} is mounted nowhere",
                details=f"it says {place!r}",
            )
        return place

    def unmount(self, volume: Volume, container_id: str, *, last: bool) -> None:
        """Tell it that a container has ended; it counts for itself who is the last."""
        del last
        self._call("VolumeDriver.Unmount", {"Name": volume.name, "ID": container_id})

    def status(self, volume: Volume) -> dict[str, object]:
        """What it tells of the volume's state."""
        found = self._look(volume.name)
        told = found.get("Status") if found else None
        return told if isinstance(told, dict) else {}

    def usage(self, volume: Volume) -> None:
        """Not known: the data may be anywhere."""
        del volume

    def volumes(self) -> list[str]:
        """Names of the volumes that it has."""
        found = self._call("VolumeDriver.List", {}, LOOK_TIMEOUT_S).get("Volumes")
        listed = found if isinstance(found, list) else []
        return [str(one["Name"]) for one in listed if isinstance(one, dict) and one.get("Name")]

    def has(self, name: str) -> bool:
        """Whether it has a volume with this name."""
        return self._look(name) is not None

    def _look(self, name: str) -> dict[str, Any] | None:
        try:
            found = self._call("VolumeDriver.Get", {"Name": name}, LOOK_TIMEOUT_S).get("Volume")
        except Unavailable as error:
            if error.details:  # its own words: there is none
                return None
            raise
        return found if isinstance(found, dict) else None

    def _call(
        self, method: str, document: dict[str, object], timeout_s: float | None = None
    ) -> dict[str, Any]:
        limit_s = timeout_s or WORK_TIMEOUT_S
        self._activate(limit_s)
        return call(self._path, self._name, method, document, limit_s)

    def _activate(self, timeout_s: float) -> None:
        """The handshake: what the plugin is for."""
        if self._is_active:
            return
        answer = call(self._path, self._name, "Plugin.Activate", {}, timeout_s)
        kinds = answer.get("Implements")
        if not isinstance(kinds, list) or KIND not in kinds:
            raise Unavailable(
                f"plugin {self._name} is no volume driver", details=f"it implements {kinds}"
            )
        self._is_active = True


def sockets(context: VolumeContext) -> Sockets:
    """Where this engine looks for plugins."""
    return Sockets(context.config.volume_plugins)
