"""Containers with a restart policy: waiting for what they become, and taking the host away."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

from runengine.linux import pidfd
from runengine.mgr.container import observe, pending
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from runengine import Engine


def policy(text: str) -> dict[str, Any]:
    """HostConfig's ``RestartPolicy``."""
    from runengine.mgr.container import policy as module

    return {"RestartPolicy": module.parse(text)}


def state(engine: Engine, name: str) -> dict[str, Any]:
    """``State`` of an inspect."""
    found: dict[str, Any] = engine.containers.inspect(name)["State"]
    return found


def count(engine: Engine, name: str) -> int:
    """``RestartCount`` of an inspect."""
    return int(engine.containers.inspect(name)["RestartCount"])


def await_status(engine: Engine, name: str, status: str) -> None:
    """Wait until the container is in this state."""
    wait_for(lambda: state(engine, name)["Status"] == status)


def back_off(engine: Engine, name: str) -> pending.Note:
    """Make the next wait so long that a test can look at it, and wait until it has begun."""
    context = engine.containers._context
    container = engine.containers.resolve(name)

    def is_patient() -> bool:
        note = pending.find(context, container)
        return note is not None and not note.is_due and count(engine, name) >= 4

    wait_for(is_patient)
    note = pending.find(context, container)
    assert note
    return note


def init_note(engine: Engine, name: str) -> dict[str, int]:
    """What the monitor wrote of the container's init and of itself."""
    path = engine.config.paths.container_state(engine.containers.resolve(name))
    with open(f"{path}/init.json") as file:
        note: dict[str, int] = json.load(file)
    return note


def kill_monitor(engine: Engine, name: str) -> dict[str, int]:
    """SIGKILL the container's monitor; returns its note."""
    note = init_note(engine, name)
    kill(note["monitor_pid"], note["monitor_start_time"])
    return note


def kill(pid: int, start_time: int) -> None:
    """SIGKILL exactly this process, and wait until it runs no more."""
    fd = pidfd.open_verified(pid, start_time)
    if fd is not None:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
        wait_for(lambda: not pidfd.is_alive(pid, start_time))


def pull_the_plug(engine: Engine) -> None:
    """As after a crash of the host: no process, mount or volatile file, and another boot."""
    from runengine.cgroups import layout
    from runengine.linux.mount import unmount
    from runengine.rootfs.walk import remove_tree

    context = engine.containers._context
    for record in engine.store.containers.all():
        waiting = pending.find(context, record.id)
        if waiting:
            kill(waiting.pid, waiting.start_time)
        if observe.is_live(observe.observe(context, record)):
            note = kill_monitor(engine, record.id)
            kill(note["pid"], note["start_time"])
        layout.remove(record.details.get("cgroup", {}))
        unmount(f"{context.data_dir(record.id)}/merged")
        engine.store.containers.set_state(record.id, {**record.state, "BootId": "another"})
    remove_tree(engine.config.paths.state)
