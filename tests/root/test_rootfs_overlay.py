"""Overlay mounts."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from runengine.errors import Conflict, EngineError, InvalidParameter, Unsupported
from runengine.linux import holders, libc, mount
from runengine.rootfs import overlay
from runengine.rootfs.overlay import mount_overlay, unmount
from runengine.rootfs.unpack import unpack_layer
from tests.support.tars import archive, directory

pytestmark = pytest.mark.root


class Rig:
    """Directories for one mount."""

    def __init__(self, tmp_path, layers: int, folder: str = "layers") -> None:
        self.lowers: list[str] = []
        for number in range(layers):
            layer = tmp_path / folder / f"{number:064d}" / "diff"
            layer.mkdir(parents=True)
            (layer / f"f{number}").write_text(str(number))
            (layer / "all").write_text(str(number))
            self.lowers.insert(0, str(layer))
        self.upper, self.work, self.merged = (
            str(tmp_path / name) for name in ("upper", "work", "merged")
        )
        for path in (self.upper, self.work, self.merged):
            os.mkdir(path)

    def mount(self, **options) -> None:
        mount_overlay(self.lowers, self.upper, self.work, self.merged, **options)


@pytest.fixture(params=["context", "options"])
def api(request, monkeypatch):
    """Both ways to mount: the new API, and mount(2) as on kernels before 6.7."""
    if request.param == "options":
        monkeypatch.setattr(overlay, "_mount_by_context", lambda *_, **__: False)
    return request.param


@pytest.fixture
def rig(tmp_path):
    """Three layers; whatever is mounted goes in the end."""
    made = Rig(tmp_path, 3)
    yield made
    mount.unmount(made.merged)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("count", [1, 2, 130, 500])
def test_any_number_of_layers(tmp_path, count):
    rig = Rig(tmp_path, count)
    rig.mount()
    try:
        assert len(os.listdir(rig.merged)) == count + 1
        with open(f"{rig.merged}/all") as file:
            assert file.read() == str(count - 1)
        with open(f"{rig.merged}/new", "w") as file:
            file.write("x")
    finally:
        assert unmount(rig.merged)
    assert os.listdir(rig.upper) == ["new"]


def test_more_layers_than_the_kernel_stacks_are_refused(rig):
    rig.lowers = rig.lowers * 200
    with pytest.raises(InvalidParameter, match="600 layers, and the kernel stacks 500"):
        rig.mount()


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("folder", ["x" * 250 + "/" + "y" * 250, "com,ma:co\\lon sp ace"])
def test_awkward_paths(tmp_path, folder):
    rig = Rig(tmp_path, 2, folder)
    rig.mount()
    assert sorted(os.listdir(rig.merged)) == ["all", "f0", "f1"]
    assert unmount(rig.merged)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_views_without_an_upper_directory_are_read_only(tmp_path, layers):
    rig = Rig(tmp_path, layers)
    mount_overlay(rig.lowers, None, None, rig.merged)
    try:
        assert len(os.listdir(rig.merged)) == (layers + 1 if layers else 0)
        with pytest.raises(OSError, match="Read-only file system"):
            os.mkdir(f"{rig.merged}/new")
    finally:
        assert unmount(rig.merged)


@pytest.mark.usefixtures("api")
def test_read_only_with_an_upper_directory(rig):
    rig.mount(readonly=True)
    with pytest.raises(OSError, match="Read-only file system"):
        os.mkdir(f"{rig.merged}/new")


@pytest.mark.usefixtures("api")
def test_an_image_without_layers_is_writable(tmp_path):
    rig = Rig(tmp_path, 0)
    rig.mount()
    os.mkdir(f"{rig.merged}/new")
    assert unmount(rig.merged)
    assert os.listdir(rig.upper) == ["new"]


@pytest.mark.usefixtures("api")
def test_propagation_is_private_below_a_shared_mount(tmp_path):
    libc.mount("none", str(tmp_path), "tmpfs", 0, None)
    libc.mount("none", str(tmp_path), None, mount.MS_SHARED, None)
    try:
        rig = Rig(tmp_path, 2)
        rig.mount()
        (entry,) = [e for e in mount.mounts() if e.target == rig.merged]
        assert entry.propagation == ()
        assert unmount(rig.merged)
    finally:
        libc.umount(str(tmp_path))


@pytest.mark.usefixtures("api")
def test_an_upper_directory_is_never_used_twice(rig, tmp_path):
    rig.mount()
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(Conflict, match=f"in use by the mount at {rig.merged}"):
        mount_overlay(rig.lowers, rig.upper, rig.work, str(other))
    with pytest.raises(Conflict, match="already mounted"):
        rig.mount()


@pytest.mark.usefixtures("api")
def test_an_opaque_root_hides_the_layers_below(rig):
    os.setxattr(rig.lowers[1], overlay.OPAQUE_XATTR, b"y")
    rig.mount()
    assert sorted(os.listdir(rig.merged)) == ["all", "f1", "f2"]


@pytest.mark.usefixtures("api")
def test_redirects_in_layers_are_not_followed(rig):
    os.mkdir(f"{rig.lowers[0]}/dir")
    os.mkdir(f"{rig.lowers[2]}/secret")
    open(f"{rig.lowers[2]}/secret/file", "w").close()
    os.setxattr(f"{rig.lowers[0]}/dir", "trusted.overlay.redirect", b"/secret")
    rig.mount()
    with pytest.raises(PermissionError):
        os.listdir(f"{rig.merged}/dir")


@pytest.mark.usefixtures("api")
def test_a_missing_layer_is_named(rig):
    rig.lowers[1] += "-gone"
    with pytest.raises(EngineError, match=r"No such file or directory: .*-gone"):
        rig.mount()


@pytest.mark.usefixtures("api")
def test_a_filesystem_that_cannot_hold_an_upper_directory(rig):
    with pytest.raises((Unsupported, EngineError), match="cannot mount the root filesystem"):
        mount_overlay(rig.lowers, "/proc/sys", "/proc/irq", rig.merged)


def test_unmounting_twice_and_nothing(rig):
    rig.mount()
    assert unmount(rig.merged)
    assert not unmount(rig.merged)
    assert not unmount(rig.merged + "-none")


def test_a_busy_mount_names_who_holds_it(rig):
    rig.mount()
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        command, cwd=rig.merged, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(Conflict, match=rf"is busy: held by .*\(pid {process.pid}: work"):
            unmount(rig.merged)
        (holder,) = holders.find(rig.merged)
        assert (holder.pid, holder.by) == (process.pid, "working directory")
        assert unmount(rig.merged, lazy=True)
        assert not mount.is_mounted(rig.merged)
        process.stdin.close()


def test_open_files_and_mapped_ones_hold_a_mount(rig):
    rig.mount()
    with open(f"{rig.merged}/all", "rb"), pytest.raises(Conflict, match=f"pid {os.getpid()}"):
        unmount(rig.merged)


def test_a_layer_as_unpacked_can_be_mounted_with_default_options_only(rig, tmp_path):
    path = tmp_path / "unpacked"
    path.mkdir()
    unpack_layer(io.BytesIO(archive(directory("d"))), str(path))
    rig.lowers.insert(0, str(path))
    rig.mount()
    (entry,) = [e for e in mount.mounts() if e.target == rig.merged]
    assert "redirect_dir=nofollow" in entry.super_options
    assert "userxattr" not in entry.super_options
    assert os.path.isdir(f"{rig.merged}/d")
