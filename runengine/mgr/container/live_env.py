"""A new environment for a container that lives: the next exec has it, and so has a login shell.

A process keeps the environment that it began with, so nothing else can be told. An exec takes its
from the bundle. Shells read /etc/profile.d: a file is written there where the container's root has
such a directory, by names that the kernel resolves inside that root.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.linux import fsatomic, pidfd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

DIRECTORY = "etc/profile.d"
NAME = "runengine-env.sh"
MODE = 0o755
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a shell can export."""


@contextmanager
def applied(context: Context, record: Record, changes: Sequence[str]) -> Iterator[None]:
    """Give ``changes`` to every exec from now on; they are taken back if the block fails."""
    import json

    from runengine.oci_spec.env import merge_env

    path = f"{context.state_dir(record.id)}/bundle/config.json"
    before = fsatomic.read_optional(path)
    if before is None:
        yield  # it is about to end
        return
    spec = json.loads(before)
    spec["process"]["env"] = merge_env(spec["process"]["env"], changes)
    fsatomic.replace_json(path, spec, durable=False)
    try:
        yield
    except BaseException:
        fsatomic.replace(path, before, durable=False)
        raise


def tell_shells(record: Record) -> None:
    """Write the file anew in a container that lives. What cannot be written is left out."""
    with suppress(OSError):
        pid, started = record.state["Pid"], record.state["StartTime"]
        root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if pidfd.is_alive(pid, started):  # so it was that one's root
                write_below(root_fd, text(record.config["Env"]))
        finally:
            os.close(root_fd)


def text(env: Iterable[str]) -> str:
    """The shell's lines: values quoted, PATH before the old one, nothing for empty values."""
    lines = []
    for item in env:
        name, _, value = item.partition("=")
        if not value or not _NAME.fullmatch(name):
            continue
        for special in ("\\", '"', "$", "`"):
            value = value.replace(special, f"\\{special}")
        lines.append(f'export {name}="{value}{":$PATH" if name == "PATH" else ""}"\n')
    return "".join(lines)


def write_below(root_fd: int, content: str) -> None:
    """Write the file in the root that ``root_fd`` is. Raises OSError."""
    from runengine.linux import libc

    resolve = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
    flags = os.O_PATH | os.O_DIRECTORY
    directory_fd = libc.openat2(root_fd, DIRECTORY, flags, resolve=resolve)
    try:
        _replace(directory_fd, content)
    finally:
        os.close(directory_fd)


def _replace(directory_fd: int, content: str) -> None:
    """Beside it first, then renamed: a link of that name is replaced, never followed."""
    name = f".{NAME}.{secrets.token_hex(6)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, MODE, dir_fd=directory_fd)
    try:
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, MODE)
            file.write(content)
        os.rename(name, NAME, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except OSError:
        os.unlink(name, dir_fd=directory_fd)
        raise
