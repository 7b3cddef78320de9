"""Removing a container whose record cannot be read: all that its id alone leads to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.linux import pidfd
from runengine.mgr.container import observe, pending
from runengine.mgr.container.context import discard_directory
from runengine.mgr.container.discard import remove_data
from runengine.mgr.container.recover import wait_for_monitor

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context

SIGKILL = 9
END_TIMEOUT_S = 30.0


def remove_damaged(context: Context, container_id: str, *, volumes: bool = False) -> None:
    """End what runs, then remove files and record. Raises Unavailable, TimedOut.

    A log outside of the container's directory and cgroups without a monitor stay: only the
    record knew of them.
    """
    from runengine.linux.mount import unmount
    from runengine.mgr.container import userns
    from runengine.mgr.container import volumes as mounted
    from runengine.mgr.container.runtime import runtime_argv
    from runengine.mgr.network import sandbox
    from runengine.runtime import runc

    with context.reserved(container_id):
        pending.cancel(context, container_id)
        _kill(context, container_id)
        wait_for_monitor(context, container_id)
        if os.path.exists(f"{context.paths.runtime_root}/{container_id}"):
            argv = runtime_argv(context, context.config.default_runtime)
            runc.Runtime(argv).delete(container_id, force=True)
        sandbox.tear_down(context, container_id)
        data_dir, state_dir = context.data_dir(container_id), context.state_dir(container_id)
        for target in (f"{data_dir}/merged", f"{state_dir}/shm"):
            unmount(target)
        userns.clear(userns.place_of(context, container_id))
        mounted.release(context, container_id, context.store.volumes.used_by(container_id))
        context.volumes.leave(container_id, anonymous=volumes, made=False)
        remove_data(data_dir)
        context.store.containers.remove(container_id)
        discard_directory(state_dir)


def _kill(context: Context, container_id: str) -> None:
    init = observe.init_note(context, container_id)
    fd = pidfd.open_verified(*init) if init else None
    if fd is not None:
        try:
            pidfd.send(fd, SIGKILL)
            pidfd.wait(fd, END_TIMEOUT_S)
        finally:
            os.close(fd)
