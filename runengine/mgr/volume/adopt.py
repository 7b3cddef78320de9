"""Volumes that plugins have and that this engine does not know yet.

All plugins are asked at once, and none is waited for longer than it takes to look: one that hangs
keeps nobody from the volumes of the others.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from runengine.errors import EngineError, InvalidParameter
from runengine.linux import clock
from runengine.mgr.volume.plugin import LOOK_TIMEOUT_S, PluginDriver, sockets
from runengine.oci_spec.volume_mounts import check_name
from runengine.store.volumes import Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.volume.context import VolumeContext

Answer = TypeVar("Answer")
GRACE_S = 1.0
"""For the threads to come back with what the deadlines of their calls leave them."""


def find(context: VolumeContext, name: str) -> Volume | None:
    """A volume that no record tells of but a plugin: it is adopted, that is, recorded."""
    holders = _ask_all(context, lambda plugin: plugin.has(name))
    for driver, has in sorted(holders.items()):
        if has:
            volume = Volume(name, driver, clock.now())
            with context.store.database.write():
                if context.store.volumes.find(name) is None:
                    context.store.volumes.add(volume)
            return context.store.volumes.get(name)
    return None


def unknown(context: VolumeContext) -> list[Volume]:
    """Volumes that only plugins tell of, by name; they are not recorded by being listed."""
    known = context.store.volumes.names()
    found: dict[str, Volume] = {}
    for driver, names in sorted(_ask_all(context, lambda plugin: plugin.volumes()).items()):
        for name in names:
            if name not in known and _is_name(name):
                found.setdefault(name, Volume(name, driver, ""))
    return [found[name] for name in sorted(found)]


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except InvalidParameter:
        return False
    return True


def _ask_all(
    context: VolumeContext, question: Callable[[PluginDriver], Answer]
) -> dict[str, Answer]:
    """What every plugin for volumes answers; a notice for those that do not."""
    names = sockets(context).names()
    answers: dict[str, Answer] = {}
    problems: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            answers[name] = question(PluginDriver.find(context, name))
        except EngineError as error:
            problems[name] = str(error)

    # Daemons, so that one that hangs in the kernel does not keep the program from its end.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + LOOK_TIMEOUT_S + GRACE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    context.notices.extend(text for _, text in sorted(problems.items()))
    return dict(answers)
