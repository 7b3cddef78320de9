"""The container manager: every operation on containers, each in a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import Conflict, InvalidParameter, NotFound
from runengine.mgr.container import create as create_module
from runengine.mgr.container import pending
from runengine.mgr.container.checkpoint_operations import CheckpointOperations
from runengine.mgr.container.files import FileOperations
from runengine.mgr.container.recover import finish, require_live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runengine.mgr.container.checkpoint_restore import Wanted
    from runengine.mgr.container.context import Context
    from runengine.mgr.container.create import Created
    from runengine.mgr.container.prune import Pruned
    from runengine.mgr.container.snapshots import Snapshot
    from runengine.mgr.container.stats import Watch
    from runengine.mgr.container.wait import Waited
    from runengine.mgr.image.commit import Wishes
    from runengine.model import (
        ContainerConfig,
        EndpointConfig,
        ExecConfig,
        HostConfig,
        RestartPolicy,
    )
    from runengine.monitor.client import Connection, Monitor
    from runengine.monitor.protocol import AttachOptions
    from runengine.rootfs.changes import Change
    from runengine.store.containers import Record


class ContainerMgr(FileOperations, CheckpointOperations):
    """Operations on containers.

    ``name`` is an id, a name or a unique id prefix everywhere. Besides what each operation
    documents, all raise NotFound and AmbiguousName.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._spare: Monitor | None = None

    # Life

    def create(
        self,
        name: str | None,
        config: ContainerConfig,
        host: HostConfig,
        *,
        endpoints: Mapping[str, EndpointConfig] | None = None,
        specific_id: str | None = None,
    ) -> Created:
        """Make a container that is ready to start. See ``create.create``."""
        return create_module.create(
            self._context, name, config, host, endpoints=endpoints, specific_id=specific_id
        )

    def prepare_start(self) -> None:
        """Let a monitor boot now for the next ``start``, while the caller goes on."""
        from runengine.mgr.container import start

        if self._spare is None:
            self._spare = start.spawn_monitor()

    def start(
        self,
        name: str,
        *,
        attach: AttachOptions | None = None,
        console_size: tuple[int, int] | None = None,
        checkpoint: Wanted | None = None,
    ) -> Connection | None:
        """Start a container; ``console_size`` is (rows, columns). See ``start.start``."""
        from runengine.mgr.container import start

        spare, self._spare = self._spare, None
        return start.start(
            self._context,
            name,
            attach=attach,
            console_size=console_size,
            monitor=spare,
            checkpoint=checkpoint,
        )

    def stop(
        self, name: str, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Stop a container. See ``stop.stop``."""
        from runengine.mgr.container import stop

        stop.stop(self._context, name, timeout_s=timeout_s, signal=signal)

    def restart(
        self, name: str, timeout_s: int | None = None, signal: str | None = None
    ) -> None:
        """Stop it if it runs, then start it, in one turn."""
        from runengine.mgr.container import restart

        restart.restart(self._context, name, timeout_s=timeout_s, signal=signal)

    def kill(self, name: str, signal: str | int = "KILL") -> None:
        """Send a signal to the init. See ``stop.kill``."""
        from runengine.mgr.container import stop

        stop.kill(self._context, name, signal)

    def pause(self, name: str) -> None:
        """Freeze all processes. Raises Conflict unless running."""
        from runengine.mgr.container import stop

        stop.pause(self._context, name)

    def unpause(self, name: str) -> None:
        """Thaw. Raises Conflict unless paused."""
        from runengine.mgr.container import stop

        stop.unpause(self._context, name)

    def update(
        self,
        name: str,
        resources: Mapping[str, Any] | None = None,
        *,
        restart_policy: RestartPolicy | None = None,
        env: Sequence[str] = (),
        labels: Sequence[str] = (),
        annotations: Mapping[str, str] | None = None,
        disk_quota: Mapping[str, str] | None = None,
    ) -> Sequence[str]:
        """Change settings, also while it runs; returns warnings. See ``update.update``.

        ``resources`` has HostConfig's keys and units; what is zero, empty or left out stays.
        """
        from runengine.mgr.container import update

        changes = update.Changes(
            resources or {}, restart_policy, env, labels, annotations or {}, disk_quota or {}
        )
        return update.update(self._context, name, changes)

    def upgrade(
        self,
        name: str,
        image: str,
        *,
        entrypoint: list[str] | None = None,
        cmd: list[str] | None = None,
        timeout_s: int | None = None,
    ) -> None:
        """Put it on another image, with all that it had but its own changes.

        See ``upgrade.upgrade``. ``timeout_s`` is that of the stop, for one that runs.
        """
        from runengine.mgr.container import upgrade
        from runengine.oci_spec.rebase import Command

        wanted = upgrade.Wanted(image, Command(entrypoint, cmd))
        upgrade.upgrade(self._context, name, wanted, timeout_s=timeout_s)
        self._free_layers()

    def wait(self, name: str, condition: str = "not-running") -> Waited:
        """Wait for the end of a run. See ``wait.wait``."""
        from runengine.mgr.container import wait

        return wait.wait(self._context, name, condition)

    def remove(
        self, name: str, *, force: bool = False, volumes: bool = False, made: bool = False
    ) -> None:
        """Remove a container; ``volumes``: its anonymous ones as well. See ``remove.remove``."""
        from runengine.mgr.container import remove

        remove.remove(self._context, name, force=force, volumes=volumes, made=made)
        self._free_layers()

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Remove the containers that do not run. See ``prune.prune``."""
        from runengine.mgr.container import prune

        done = prune.prune(self._context, filters or {})
        self._free_layers()
        return done

    def _free_layers(self) -> None:
        """Take away what ``rmi -f`` left because the container stood on it."""
        from runengine.mgr.image import garbage

        if garbage.is_pending(self._context.paths):
            self._context.images.collect_garbage()

    def rename(self, name: str, new_name: str) -> None:
        """Change the name. Raises AlreadyExists, InvalidParameter."""
        from runengine.mgr.container import rename

        rename.rename(self._context, name, new_name)

    def finish(self, name: str) -> None:
        """Write the end of a run down, clear up, and remove the container if it is to go.

        For the caller that has taken the teardown over from the monitor.
        """
        try:
            with self._context.locked(self.resolve(name)) as record:
                finish(self._context, record)
        except NotFound:
            return
        self._free_layers()

    def cleanup(self, name: str) -> None:
        """What a monitor calls after an exit that no command waited for. See ``reconcile``."""
        from runengine.mgr.container import reconcile

        reconcile.cleanup(self._context, name)
        self._free_layers()

    def restore(self) -> Sequence[str]:
        """Start what is to run, as after a crash or a reboot; returns what went wrong.

        Then clear away what a violent death has left on the host (``mgr.check``), and content that
        nothing refers to any more.
        """
        from runengine.mgr.check import run
        from runengine.mgr.container import restore

        problems = [*restore.restore(self._context), *run.recover(self._context)]
        self._context.images.collect_garbage()
        return problems

    def reconcile(self) -> Sequence[str]:
        """See to exits that no monitor could see to; returns what went wrong."""
        from runengine.mgr.container import restore

        problems = restore.reconcile_all(self._context)
        self._free_layers()
        return problems

    def halt(self) -> Sequence[str]:
        """Stop all because the host goes down; returns what went wrong. See ``restore.halt``."""
        from runengine.mgr.container import restore

        return restore.halt(self._context)

    # Looking

    def get(self, name: str) -> Record:
        """The record, its state as it is now."""
        record = self._context.store.containers.get(self.resolve(name))
        return record._replace(state=pending.look(self._context, record))

    def resolve(self, name: str) -> str:
        """The full id."""
        return self._context.resolve(name)

    def list(
        self,
        *,
        all: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
        limit: int = 0,
        size: bool = False,
    ) -> list[dict[str, Any]]:
        """Summaries in the shape of Docker's ``/containers/json``. See ``listing``."""
        from runengine.mgr.container import listing

        return listing.list_containers(
            self._context, everything=all, filters=filters or {}, limit=limit, size=size
        )

    def inspect(self, name: str, size: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        """Docker's ``/containers/{id}/json``."""
        from runengine.mgr.container import inspect

        record = self._context.store.containers.get(self.resolve(name))
        return inspect.inspect(self._context, record, size=size)

    def list_snapshots(self) -> Sequence[Snapshot]:
        """What every image layer and every writable layer takes up on disk."""
        from runengine.mgr.container import snapshots

        return snapshots.list_snapshots(self._context)

    def top(self, name: str, ps_args: Sequence[str] = ()) -> dict[str, Any]:
        """Processes. See ``top.top``."""
        from runengine.mgr.container import top

        return top.top(self._context, name, ps_args)

    def stats(self, name: str, *, one_shot: bool = False) -> dict[str, Any]:
        """Docker's ``/containers/{id}/stats`` without the stream. See ``stats.stats``."""
        from runengine.mgr.container import stats

        return stats.stats(self._context, name, one_shot=one_shot)

    def stream_stats(self, name: str, *, interval_s: float = 1.0) -> Iterator[dict[str, Any]]:
        """The same again and again, until the container is removed."""
        from runengine.mgr.container import stats

        return stats.stream_stats(self._context, name, interval_s=interval_s)

    def watch_stats(self, names: Sequence[str] = (), *, all: bool = False) -> Watch:
        """Several containers, or all that run, round by round. See ``stats.Watch``."""
        from runengine.mgr.container import stats

        ids = [self.resolve(name) for name in names] or None
        return stats.Watch(self._context, ids, everything=all)

    def logs(self, name: str, *, emit: Callable[[str, bytes], None], **options: Any) -> None:
        """Hand the log to ``emit(stream, data)``. Options: see ``mgr.logs.read_logs``."""
        from runengine.mgr.logs import read_logs

        record = self._context.store.containers.get(self.resolve(name))

        def is_running() -> bool:
            now = self._context.find(record.id)
            return now is not None and pending.is_up(pending.look(self._context, now))

        read_logs(record.details["log"], is_running=is_running, emit=emit, **options)

    # Files

    def commit(self, name: str, wishes: Wishes, *, pause: bool = True) -> str:
        """Make an image of its files and settings; returns the id. See ``commit.commit``."""
        from runengine.mgr.container import commit

        return commit.commit(self._context, name, wishes, pause=pause)

    def export(self, name: str, target: int) -> None:
        """Write its files as a tar to the open file ``target``. See ``rootfs.export``."""
        from runengine.mgr.container import rootfs

        rootfs.export(self._context, name, target)

    def diff(self, name: str) -> Sequence[Change]:
        """What it has changed in its image, sorted by path."""
        from runengine.mgr.container import rootfs

        return rootfs.diff(self._context, name)

    # Networks

    def connect(
        self, name: str, network: str, endpoint: EndpointConfig | None = None
    ) -> None:
        """Connect a container to one more network, running or not. See ``connect.connect``."""
        from runengine.mgr.network import connect

        connect.connect(self._context, network, name, endpoint)

    def disconnect(self, name: str, network: str) -> None:
        """Disconnect a container from a network. See ``connect.disconnect``."""
        from runengine.mgr.network import connect

        connect.disconnect(self._context, network, name)

    # Streams

    def attach_container_io(self, name: str, options: AttachOptions) -> Connection:
        """Attach to the streams of a running container. Raises Conflict."""
        from runengine.monitor import client

        record = self._context.store.containers.get(self.resolve(name))
        state = pending.look(self._context, record)
        if state["Status"] == pending.RESTARTING:
            raise Conflict(
                "You cannot attach to a restarting container, wait until it is running"
            )
        if state["Status"] == "paused":
            raise Conflict("You cannot attach to a paused container, unpause it first")
        if not pending.is_up(state):
            raise Conflict("You cannot attach to a stopped container, start it first")
        if record.details["log"]["driver"] == "passthrough":
            from runengine.mgr import plain_logs

            plain_logs.refuse_attach(record.name, options)
        connection = client.connect(self._context.state_dir(record.id))
        if connection is None:
            raise Conflict(
                f"container {record.name} runs without its monitor, which was killed",
                resolution="its streams are lost; restart the container",
            )
        connection.attach(options)
        return connection

    attach = attach_container_io

    def resize(self, name: str, rows: int, columns: int) -> None:
        """Set the size of the container's terminal. Raises Conflict."""
        from runengine.monitor import client

        if rows < 0 or columns < 0:
            raise InvalidParameter(f"invalid terminal size {rows} x {columns}")
        record = self._context.store.containers.get(self.resolve(name))
        require_live(record, pending.look(self._context, record))
        connection = client.connect(self._context.state_dir(record.id))
        if connection is not None:
            with connection:
                connection.resize_once(rows, columns)

    # Exec

    def create_exec(self, name: str, config: ExecConfig) -> str:
        """Record an exec; returns its id. See ``exec.create_exec``."""
        from runengine.mgr.container import exec as module

        return module.create_exec(self._context, name, config)

    def start_exec(
        self,
        exec_id: str,
        *,
        attach: AttachOptions | None = None,
        console_size: tuple[int, int] | None = None,
    ) -> Connection | None:
        """Start a recorded exec. See ``exec.start_exec``."""
        from runengine.mgr.container import exec as module

        return module.start_exec(self._context, exec_id, attach=attach, console_size=console_size)

    def finish_exec(self, exec_id: str, exit_code: int | None) -> None:
        """Note how an attached exec ended."""
        from runengine.mgr.container import exec as module

        module.finish_exec(self._context, exec_id, exit_code)

    def inspect_exec(self, exec_id: str) -> dict[str, Any]:
        """Docker's ``/exec/{id}/json``."""
        from runengine.mgr.container import exec as module

        return module.inspect_exec(self._context, exec_id)

    def get_exec_config(self, exec_id: str) -> ExecConfig:
        """What the exec was asked to run."""
        return self._context.store.execs.get(exec_id).config

    def check_exec_exist(self, exec_id: str) -> None:
        """Raise NotFound unless there is such an exec."""
        self._context.store.execs.get(exec_id)

    def resize_exec(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the size of an exec's terminal."""
        from runengine.mgr.container import exec as module

        module.resize_exec(self._context, exec_id, rows, columns)

    # Bundles

    def write_bundle(
        self, config: ContainerConfig, host: HostConfig, bundle: str
    ) -> Sequence[str]:
        """Write a bundle that a plain OCI runtime runs; returns warnings. See ``bundle``."""
        from runengine.mgr.container import bundle as module

        return module.write_bundle(self._context, config, host, bundle)

    def close(self) -> None:
        """Let go of a monitor that was prepared and not used."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None


