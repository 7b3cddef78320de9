"""Images of several tools come out as umoci unpacks them, byte for byte."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import tarfile

import pytest

from tests.support import umoci
from tests.support.tars import archive, directory, link, member, symlink
from tests.support.treecmp import differences, manifest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("umoci"), reason="no umoci (apt-get install umoci)"),
]

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def compare(layout, tmp_path, *, but=()) -> None:
    """Fail unless the image looks the same unpacked by umoci and by us."""
    theirs = manifest(umoci.reference(layout, tmp_path / "theirs"))
    with umoci.ours(layout, tmp_path / "ours") as merged:
        mine = manifest(merged)
    for name in (b"", *but):
        # The root itself: a layer of its own has one, an empty rootfs is umoci's.
        mine.pop(name, None), theirs.pop(name, None)
    assert differences(mine, theirs) == []
    assert len(mine) > 1


@pytest.fixture
def rich_tree(tmp_path):
    """A tree with everything that a filesystem can hold."""
    top = tmp_path / "rich"
    (top / "bin").mkdir(parents=True)
    (top / "etc/ssl").mkdir(parents=True)
    (top / "dev").mkdir()
    shutil.copy("/bin/busybox", top / "bin/busybox")
    for name in ("sh", "ls", "cat"):
        os.link(top / "bin/busybox", top / "bin" / name)
    os.symlink("busybox", top / "bin/link")
    os.link(top / "bin/link", top / "bin/link-too", follow_symlinks=False)
    os.symlink("/etc/ssl", top / "abs")
    os.symlink("../../../..", top / "up")
    (top / "bin/ping").write_bytes(b"ping")
    os.setxattr(top / "bin/ping", "security.capability", CAPABILITY)
    (top / "bin/su").write_bytes(b"su")
    os.chown(top / "bin/su", 0, 42)
    os.chmod(top / "bin/su", 0o6755)
    os.setxattr(top / "etc/ssl", "user.note", b"\0\xff\n")
    os.mknod(top / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "dev/loop", stat.S_IFBLK | 0o660, os.makedev(7, 300))
    os.mkfifo(top / "dev/fifo", 0o622)
    with open(top / "etc/sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"x")
    odd = os.fsencode(top) + b"/etc/odd-\xff\xfe\n"
    with open(odd, "wb") as file:
        file.write(b"odd")
    (top / ("n" * 200) / ("m" * 200)).mkdir(parents=True)
    os.chown(top / "etc", 1000, 1001)
    os.chmod(top / "etc", 0o1777)
    for folder, _, files in os.walk(top, topdown=False):
        for name in (*files, ""):
            stamp = 1_600_000_000 * 10**9 + 123_456_789
            os.utime(os.path.join(folder, name), ns=(stamp, stamp), follow_symlinks=False)
    return top


def tar_of(tree, *options: str) -> bytes:
    """The tree as GNU tar writes it."""
    words = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", *options, "-C", tree]
    return subprocess.run([*words, "-c", "."], capture_output=True, check=True).stdout


@pytest.mark.parametrize("options", [("--format=posix",), ("--format=posix", "--sparse")])
def test_archives_of_gnu_tar(tmp_path, rich_tree, options):
    compare(umoci.new_layout(tmp_path / "image", tar_of(rich_tree, *options)), tmp_path)


def test_layers_made_by_umoci_repack(tmp_path, rich_tree):
    layout = umoci.new_layout(tmp_path / "image", tar_of(rich_tree, "--format=posix"))
    bundle = tmp_path / "bundle"
    umoci.run("umoci", "unpack", "--image", f"{layout}:t", bundle)
    root = bundle / "rootfs"
    (root / "bin/ping").unlink()
    shutil.rmtree(root / "etc/ssl")
    (root / "etc/ssl").write_text("now a file")
    (root / "bin/su").write_bytes(b"changed")
    (root / "new/dir").mkdir(parents=True)
    os.link(root / "bin/busybox", root / "new/dir/hard")
    os.rename(root / ("n" * 200), root / "renamed")
    umoci.run("umoci", "repack", "--image", f"{layout}:t", bundle)
    compare(layout, tmp_path)


def test_inserted_layers(tmp_path, rich_tree):
    layout = umoci.new_layout(tmp_path / "image", tar_of(rich_tree, "--format=posix"))
    extra = tmp_path / "extra"
    (extra / "deep/er").mkdir(parents=True)
    (extra / "deep/er/file").write_text("x")
    insert = ("umoci", "insert", "--image", f"{layout}:t")
    umoci.run(*insert, extra, "/etc/extra")
    umoci.run(*insert, "--opaque", extra, "/bin")
    umoci.run(*insert, "--whiteout", "/dev")
    compare(layout, tmp_path)


@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_layers_copied_by_skopeo(tmp_path, rich_tree, compression):
    layout = umoci.new_layout(tmp_path / "image", tar_of(rich_tree, "--format=posix"))
    copied = tmp_path / "copied"
    umoci.run("skopeo", "copy", "--quiet", "--dest-compress", "--dest-compress-format",
              compression, f"oci:{layout}:t", f"oci:{copied}:t")
    theirs = manifest(umoci.reference(layout, tmp_path / "theirs"))
    with umoci.ours(copied, tmp_path / "ours") as merged:
        mine = manifest(merged)
    del mine[b""], theirs[b""]
    assert differences(mine, theirs) == []


@pytest.mark.skipif(not shutil.which("buildah"), reason="no buildah")
def test_layers_made_by_buildah(tmp_path, rich_tree):
    storage = ("--root", tmp_path / "storage", "--runroot", tmp_path / "run")
    base = ("buildah", *storage, "--storage-driver", "vfs")
    name = umoci.run(*base, "from", "scratch").strip()
    umoci.run(*base, "copy", "--quiet", name, rich_tree, "/")
    umoci.run(*base, "commit", "--quiet", name, "one")
    again = umoci.run(*base, "from", "--pull-never", "localhost/one").strip()
    root = umoci.run(*base, "mount", again).strip()
    os.unlink(f"{root}/bin/su")
    shutil.rmtree(f"{root}/etc/ssl")
    os.makedirs(f"{root}/etc/ssl/fresh")
    os.setxattr(f"{root}/bin/busybox", "security.capability", CAPABILITY)
    umoci.run(*base, "umount", again)
    target = f"oci:{tmp_path}/built:t"
    umoci.run(*base, "commit", "--quiet", "--disable-compression=false", again, target)
    compare(tmp_path / "built", tmp_path)


def test_whiteouts_links_and_unlisted_directories_over_several_layers(tmp_path):
    base = archive(
        directory("etc", mode=0o750, uid=3),
        member("etc/passwd", b"lower"),
        directory("etc/sub"),
        member("etc/sub/x", b"lower"),
        directory("usr", mtime=1),
        directory("usr/lib", mode=0o711, uid=1, mtime=2),
        member("usr/lib/old", b"lower"),
        member("usr/lib/older", b"lower", mode=0o4755),
        symlink("lib", "usr/lib"),
        symlink("abs", "/usr"),
        member("file", b"lower", mode=0o640),
    )
    second = archive(
        member("lib/new", b"second"),
        member("abs/share/doc/x", b"second", mtime=9),
        member("etc/.wh.passwd"),
        member("etc/sub/.wh..wh..opq"),
        member("etc/sub/y", b"second"),
        link("hard", "usr/lib/older"),
        link("lib/hard", "lib/old"),
        member(".wh.file"),
    )
    third = archive(
        directory("file", mode=0o700),
        member("file/x", b"third"),
        link("file/hard", "hard"),
        member("usr/lib/.wh.older"),
        directory("etc/sub/deep", mode=0o711),
        member("nothing", kind=tarfile.FIFOTYPE, mode=0o600),
    )
    layout = umoci.new_layout(tmp_path / "image", base, second, third)
    # Made from nothing, so umoci gives these the time of day, as well as what they were made in.
    compare(layout, tmp_path, but=(b"usr", b"usr/share", b"usr/share/doc"))


def test_a_hundred_and_fifty_layers(tmp_path):
    layers = [
        archive(
            directory("shared", mode=0o700 + number % 8, mtime=number),
            member(f"shared/f{number}", b"x" * number),
            *([member(f"shared/.wh.f{number - 2}")] if number % 3 == 2 else []),
            *([link(f"h{number}", f"shared/f{number - 1}")] if number % 5 == 4 else []),
        )
        for number in range(150)
    ]
    work = tmp_path / "work"
    work.mkdir()
    layout = umoci.new_layout(tmp_path / "image", layers[0])
    for data in layers[1:]:
        file = work / "layer.tar"
        file.write_bytes(data)
        umoci.run("umoci", "raw", "add-layer", "--image", f"{layout}:t", file)
    compare(layout, tmp_path)
