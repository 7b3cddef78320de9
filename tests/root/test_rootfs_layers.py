"""The layer store when processes die, race, and disks fill up."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from runengine.errors import EngineError
from runengine.linux import libc
from runengine.rootfs.layers import LayerStore
from runengine.rootfs.unpack import unpack_layer
from tests.support.tars import archive, member

pytestmark = pytest.mark.root

KEY = "a" * 64
STAGER = """
import sys
from runengine.rootfs.layers import LayerStore
with LayerStore(sys.argv[1]).stage() as staging:
    open(staging.diff + "/half", "w").write("x" * 100000)
    print(staging.directory, flush=True)
    sys.stdin.read()
    print(staging.commit("a" * 64), flush=True)
"""


@contextmanager
def stager(root):
    """Another process in the middle of unpacking."""
    command = [sys.executable, "-c", STAGER, str(root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_what_a_killed_process_leaves_is_swept(tmp_path):
    store = LayerStore(str(tmp_path / "layers"))
    with stager(store.root) as (process, directory):
        assert store.sweep(set()) == ([], 0)
        assert os.path.isdir(directory)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert os.path.isdir(directory)
    assert store.keys() == []
    assert store.sweep(set()).freed_bytes >= 100_000
    assert os.listdir(store.staging) == []


def test_two_processes_with_one_layer(tmp_path):
    store = LayerStore(str(tmp_path / "layers"))
    with stager(store.root) as (first, _), stager(store.root) as (second, _):
        assert first.communicate()[0].strip() == "True"
        assert second.communicate()[0].strip() == "False"
    assert store.keys() == [KEY]
    assert os.listdir(store.path(KEY)) == ["half"]
    assert os.listdir(store.staging) == []


def test_a_full_disk_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    libc.mount("none", str(disk), "tmpfs", 0, "size=4m")
    try:
        store = LayerStore(str(disk / "layers"))
        data = gzip.compress(archive(member("big", os.urandom(8 << 20))))
        with pytest.raises(EngineError, match="no space left on the disk"), store.stage() as it:
            unpack_layer(io.BytesIO(data), it.diff)
        assert os.listdir(store.staging) == []
        assert os.statvfs(disk).f_bfree > 900
    finally:
        libc.umount(str(disk))


def test_layers_are_durable_by_one_call(tmp_path):
    store = LayerStore(str(tmp_path / "layers"))
    with store.stage() as staging:
        unpack_layer(io.BytesIO(archive(member("a", b"x"))), staging.diff)
        assert staging.commit(KEY, tar_bytes=1)
    assert store.has(KEY)


def test_removing_does_not_cross_a_mount(tmp_path):
    store = LayerStore(str(tmp_path / "layers"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    with store.stage() as staging:
        os.mkdir(f"{staging.diff}/bind")
        staging.commit(KEY)
    target = f"{store.path(KEY)}/bind"
    libc.mount(str(outside), target, None, 4096, None)
    try:
        with pytest.raises(OSError, match="cross-device"):
            store.remove(KEY)
    finally:
        for entry in os.listdir(store.staging):
            if not entry.endswith(".lock"):
                libc.umount(f"{store.staging}/{entry}/diff/bind")
    assert (outside / "kept").exists()
    store.sweep(set())
    assert os.listdir(store.staging) == []
