"""Command lines of the OCI runtime. The monitor loads this: no imports.

``base`` is the start of each: the program and its global options (``--root``). The options are the
ones that runc, crun and youki have in common (runc(8) and its subcommands' pages).
"""

from __future__ import annotations

CRIU_SETTINGS = "CRIU_CONFIG_FILE"
"""Names a file with settings beside those of the host (criu(8)). The runtimes pass it on, and
criu 4.1 dies of a network-lock in a file that comes by their annotation instead."""


def with_log(base: list[str], log: str) -> list[str]:
    """``base`` with errors written to the file ``log``, one JSON object a line."""
    return [*base, "--log", log, "--log-format", "json"]


def create(
    base: list[str], container_id: str, bundle: str, *, pid_file: str, console: str | None = None
) -> list[str]:
    """Make the container; its init waits for ``start``."""
    return [*base, "create", *_placed(bundle, pid_file, console), container_id]


def run(
    base: list[str], container_id: str, bundle: str, *, pid_file: str, console: str | None = None
) -> list[str]:
    """Create and start in one command: half the time of two."""
    return [*base, "run", "--detach", *_placed(bundle, pid_file, console), container_id]


def _placed(bundle: str, pid_file: str, console: str | None) -> list[str]:
    socket = ["--console-socket", console] if console else []
    return ["--bundle", bundle, "--pid-file", pid_file, *socket]


def start(base: list[str], container_id: str) -> list[str]:
    """Let the init of a created container execute its program."""
    return [*base, "start", container_id]


def checkpoint(
    base: list[str], container_id: str, images: str, *, options: list[str]
) -> list[str]:
    """Write the state of all processes to the directory ``images``, by CRIU.

    Without ``--leave-running`` they are gone then.
    """
    return [*base, "checkpoint", "--image-path", images, *options, container_id]


def restore(
    base: list[str],
    container_id: str,
    bundle: str,
    images: str,
    *,
    pid_file: str,
    work: str,
    settings: str,
    options: list[str],
) -> list[str]:
    """What ``run`` does, with the processes that ``checkpoint`` wrote; its log is in ``work``.

    ``settings`` is a file for CRIU, which learns of it by the environment only.
    """
    paths = ["--image-path", images, "--work-path", work, *_placed(bundle, pid_file, None)]
    told = ["env", f"{CRIU_SETTINGS}={settings}"]
    return [*told, *base, "restore", "--detach", *paths, *options, container_id]


def restored_root(base: list[str], container_id: str) -> str:
    """Where runc mounts a container's root while it restores it.

    One that was killed leaves it there, and ``delete`` would remove the files in it.
    """
    return f"{base[base.index('--root') + 1]}/{container_id}/criu-root"


def exec_process(
    base: list[str],
    container_id: str,
    process: str,
    *,
    pid_file: str,
    console: str | None = None,
    cgroup: str | None = None,
) -> list[str]:
    """Start the process that the file ``process`` describes inside; returns once it runs.

    ``cgroup`` is one below the container's, in v1 ``CONTROLLER:NAME``.
    """
    socket = ["--console-socket", console] if console else []
    socket += ["--cgroup", cgroup] if cgroup else []
    options = ["--detach", "--process", process, "--pid-file", pid_file, *socket]
    return [*base, "exec", *options, container_id]


def kill(base: list[str], container_id: str, signal: int | str, *, everyone: bool) -> list[str]:
    """Signal the init, or every process of the container."""
    return [*base, "kill", *(["--all"] if everyone else []), container_id, str(signal)]


def delete(base: list[str], container_id: str, *, force: bool) -> list[str]:
    """Remove what the runtime keeps. ``force`` kills first, which in runc sleeps 100 ms."""
    return [*base, "delete", *(["--force"] if force else []), container_id]


def simple(base: list[str], command: str, container_id: str) -> list[str]:
    """``pause``, ``resume``, ``state``."""
    return [*base, command, container_id]


def ps(base: list[str], container_id: str) -> list[str]:
    """Pids as a JSON list."""
    return [*base, "ps", "--format", "json", container_id]


def update(base: list[str], container_id: str) -> list[str]:
    """Change limits; the resources object comes on standard input."""
    return [*base, "update", "--resources", "-", container_id]


def features(base: list[str]) -> list[str]:
    """What this build of the runtime can do, as JSON (runtime-spec, features.md)."""
    return [*base, "features"]
