"""Layers with owners, devices, attributes and whiteouts, seen through an overlay mount."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from contextlib import contextmanager

import pytest

from runengine.rootfs.overlay import mount_overlay, unmount
from runengine.rootfs.unpack import complete_layer, unpack_layer
from tests.support.tars import archive, directory, extended, header, link, member, record, symlink
from tests.support.treecmp import manifest

pytestmark = pytest.mark.root

OPAQUE = "trusted.overlay.opaque"
# A version 2 capability set (linux/capability.h): effective, cap_net_raw permitted.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture
def dest(tmp_path):
    """Where to unpack."""
    path = tmp_path / "diff"
    path.mkdir()
    return path


def unpack(data, dest):
    return unpack_layer(io.BytesIO(data), str(dest))


def xattr(name: str, value: bytes) -> dict[str, str]:
    return {f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")}


@contextmanager
def stacked(tmp_path, *layers: bytes):
    """The layers (bottom first), completed and mounted read-only."""
    lowers: list[str] = []
    for number, data in enumerate(layers):
        path = tmp_path / f"layer{number}"
        path.mkdir()
        done = unpack(data, path)
        complete_layer(str(path), done, lowers)
        lowers.insert(0, str(path))
    merged = tmp_path / "merged"
    merged.mkdir()
    mount_overlay(lowers, None, None, str(merged), readonly=True)
    try:
        yield merged
    finally:
        unmount(str(merged))


def names(merged) -> list[str]:
    return sorted(name.decode() for name in manifest(merged) if name)


def test_owners_capabilities_and_set_id_bits(dest):
    unpack(
        archive(
            member("suid", b"x", uid=1000, gid=2000, mode=0o6755),
            member("cap", b"x", uid=7, pax_headers=xattr("security.capability", CAPABILITY)),
            directory("dir", uid=5, gid=6, mode=0o2775),
            member("dir/inherits-nothing", b"", uid=0, gid=0),
            symlink("link", "x", uid=8, gid=9),
            member("huge", uid=2**32 - 2, gid=2**31),
        ),
        dest,
    )
    seen = os.lstat(dest / "suid")
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (1000, 2000, 0o6755)
    assert os.getxattr(dest / "cap", "security.capability") == CAPABILITY
    assert os.lstat(dest / "cap").st_uid == 7
    assert stat.S_IMODE(os.lstat(dest / "dir").st_mode) == 0o2775
    assert os.lstat(dest / "dir/inherits-nothing").st_gid == 0
    assert (os.lstat(dest / "link").st_uid, os.lstat(dest / "link").st_gid) == (8, 9)
    assert os.lstat(dest / "huge").st_uid == 2**32 - 2


def test_owners_are_numbers_whatever_the_names_say(dest):
    unpack(archive(member("a", uid=1234, gid=4321, uname="root", gname="root")), dest)
    assert (os.lstat(dest / "a").st_uid, os.lstat(dest / "a").st_gid) == (1234, 4321)


def test_devices(dest):
    unpack(
        archive(
            member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666, uid=1),
            member("disk", kind=tarfile.BLKTYPE, devmajor=259, devminor=70000, mode=0o640, gid=6),
            format=tarfile.GNU_FORMAT,
        ),
        dest,
    )
    null, disk = os.lstat(dest / "null"), os.lstat(dest / "disk")
    assert (null.st_mode, null.st_uid) == (stat.S_IFCHR | 0o666, 1)
    assert null.st_rdev == os.makedev(1, 3)
    assert (disk.st_mode, disk.st_gid) == (stat.S_IFBLK | 0o640, 6)
    assert disk.st_rdev == os.makedev(259, 70000)


def test_attributes_of_every_kind_of_file(dest):
    acl = struct.pack("<IHHIHHIHHIHHIHHI", 2, 1, 6, 2**32 - 1, 2, 4, 1000, 4, 4, 2**32 - 1,
                      16, 4, 2**32 - 1, 32, 0, 2**32 - 1)
    default = {**xattr("system.posix_acl_default", acl), **xattr("user.d", b"\xff\0")}
    unpack(
        archive(
            directory("d", pax_headers=default, mode=0o750),
            member("d/f", b"x", pax_headers=xattr("user.f", b"value"), mode=0o604),
            symlink("l", "x", pax_headers={**xattr("trusted.l", b"1"), **xattr("user.no", b"2")}),
            member("p", kind=tarfile.FIFOTYPE, pax_headers=xattr("trusted.p", b"3")),
        ),
        dest,
    )
    assert os.getxattr(dest / "d", "user.d") == b"\xff\0"
    assert os.getxattr(dest / "d", "system.posix_acl_default") == acl
    assert os.getxattr(dest / "d/f", "user.f") == b"value"
    # The directory's default rights came last, so its file did not get them.
    assert "system.posix_acl_access" not in os.listxattr(dest / "d/f")
    assert stat.S_IMODE(os.lstat(dest / "d/f").st_mode) == 0o604
    assert os.listxattr(dest / "l", follow_symlinks=False) == ["trusted.l"]
    assert os.getxattr(dest / "p", "trusted.p") == b"3"


@pytest.mark.parametrize("spelling", ["SCHILY.xattr.", "LIBARCHIVE.xattr."])
@pytest.mark.parametrize(
    "name",
    [OPAQUE, "trusted.overlay.redirect", "trusted.overlay.metacopy", "trusted.overlay.overlay.x"],
)
def test_attributes_that_steer_overlays_are_never_taken_from_a_layer(dest, spelling, name):
    headers = {spelling + name: "eQ=="}
    unpack(archive(directory("d", pax_headers=headers), member("f", pax_headers=headers)), dest)
    for path in (dest / "d", dest / "f"):
        assert not [key for key in os.listxattr(path) if key.startswith("trusted.")]


def test_labels_of_another_host_are_left_out(dest):
    unpack(archive(member("f", pax_headers=xattr("security.selinux", b"a:b:c:s0\0"))), dest)
    assert os.listxattr(dest / "f") == []


def test_a_broken_capability_set_is_an_error_not_a_silence(dest):
    from runengine.errors import Corrupt

    data = archive(member("f", pax_headers=xattr("security.capability", b"junk")))
    with pytest.raises(Corrupt, match=r"'f' cannot be unpacked: attribute security\.capability"):
        unpack(data, dest)


def test_inherited_group_and_rights_of_the_target_do_not_matter(dest):
    acl = struct.pack("<IHHIHHIHHIHHIHHI", 2, 1, 7, 2**32 - 1, 2, 7, 1000, 4, 7, 2**32 - 1,
                      16, 7, 2**32 - 1, 32, 0, 2**32 - 1)
    os.chown(dest, 0, 50)
    os.chmod(dest, 0o2755)
    os.setxattr(dest, "system.posix_acl_default", acl)
    unpack(archive(directory("d"), member("d/f"), symlink("l", "x")), dest)
    for name in ("d", "d/f", "l"):
        assert os.lstat(dest / name).st_gid == 0
        assert os.listxattr(dest / name, follow_symlinks=False) == []
    assert stat.S_IMODE(os.lstat(dest / "d").st_mode) == 0o755


BASE = archive(
    directory("etc", mode=0o750, uid=3),
    member("etc/passwd", b"lower"),
    directory("etc/sub"),
    member("etc/sub/x", b"lower"),
    directory("usr"),
    directory("usr/lib", mode=0o711, uid=1, mtime=1_234_567_890,
              pax_headers=xattr("user.look", b"1")),
    member("usr/lib/old", b"lower"),
    symlink("lib", "usr/lib"),
    symlink("abs", "/usr"),
    member("file", b"lower", mode=0o640),
)


def whiteout(name: str):
    return member(name)


def test_whiteouts_hide_what_is_below(tmp_path):
    top = archive(whiteout("etc/.wh.passwd"), whiteout(".wh.lib"), whiteout(".wh.usr"))
    with stacked(tmp_path, BASE, top) as merged:
        assert names(merged) == ["abs", "etc", "etc/sub", "etc/sub/x", "file"]
    seen = os.lstat(tmp_path / "layer1/usr")
    assert stat.S_ISCHR(seen.st_mode)
    assert seen.st_rdev == 0


@pytest.mark.parametrize("first", ["whiteout", "entries"])
def test_whiteouts_hide_nothing_of_their_own_layer(tmp_path, first):
    hidden = [whiteout(".wh.etc"), whiteout(".wh.file"), whiteout("usr/.wh.lib")]
    entries = [directory("etc"), member("etc/new"), member("file", b"new"), member("usr/lib/new")]
    order = hidden + entries if first == "whiteout" else entries + hidden
    with stacked(tmp_path, BASE, archive(*order)) as merged:
        shown = ["abs", "etc", "etc/new", "file", "lib", "usr", "usr/lib", "usr/lib/new"]
        assert names(merged) == shown
        assert (merged / "file").read_bytes() == b"new"


@pytest.mark.parametrize("first", ["mark", "entries"])
def test_opaque_directories_hide_what_is_below_in_any_order(tmp_path, first):
    mark = [whiteout("etc/.wh..wh..opq")]
    entries = [member("etc/sub/new"), member("etc/own")]
    order = mark + entries if first == "mark" else entries + mark
    with stacked(tmp_path, BASE, archive(*order)) as merged:
        assert [n for n in names(merged) if n.startswith("etc")] == [
            "etc",
            "etc/own",
            "etc/sub",
            "etc/sub/new",
        ]
        # Its own looks are not hidden.
        assert os.lstat(merged / "etc").st_uid == 3


def test_an_opaque_root_hides_all_layers_below(tmp_path):
    with stacked(tmp_path, BASE, archive(whiteout(".wh..wh..opq"), member("only"))) as merged:
        assert names(merged) == ["only"]


def test_directories_over_files_and_the_other_way_round(tmp_path):
    top = archive(directory("file"), member("file/x"), member("etc", b"a file"))
    with stacked(tmp_path, BASE, top, archive(directory("etc"), member("etc/y"))) as merged:
        assert [n for n in names(merged) if n[:1] in "ef"] == ["etc", "etc/y", "file", "file/x"]


def test_what_replaced_a_file_of_its_own_layer_shows_nothing_from_below(tmp_path):
    top = archive(member("etc", b"file"), directory("etc"), member("etc/own"))
    with stacked(tmp_path, BASE, top) as merged:
        assert [n for n in names(merged) if n.startswith("etc")] == ["etc", "etc/own"]


def test_notes_of_aufs_are_ignored(tmp_path):
    top = archive(
        directory(".wh..wh.plnk"),
        member(".wh..wh.plnk/123.456", b"x"),
        directory(".wh..wh.orph"),
        member(".wh..wh.aufs"),
        member("etc/.wh..wh.note"),
    )
    with stacked(tmp_path, BASE, top) as merged:
        assert "usr/lib/old" in names(merged)
        assert not any(".wh." in name for name in names(merged))


@pytest.mark.parametrize("name", [".wh.", ".wh..", "etc/.wh...", ".wh.etc/x", "a/.wh.b/c"])
def test_whiteouts_of_nothing_are_refused(dest, name):
    from runengine.errors import Corrupt

    with pytest.raises(Corrupt, match="whiteout"):
        unpack(archive(whiteout(name)), dest)


def test_unlisted_directories_look_as_below(tmp_path):
    with stacked(tmp_path, BASE, archive(member("usr/lib/new"))) as merged:
        seen = os.lstat(merged / "usr/lib")
        assert (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (1, 0o711)
        assert seen.st_mtime == 1_234_567_890
        assert os.getxattr(merged / "usr/lib", "user.look") == b"1"
        assert "usr/lib/old" in names(merged)


def test_members_below_a_link_of_a_lower_layer_go_where_it_leads(tmp_path):
    top = archive(
        member("lib/new", b"1"),
        member("lib/deep/er", b"2"),
        whiteout("lib/.wh.old"),
        member("abs/share/doc", b"3"),
        directory("usr/lib/deep", mode=0o700),
        link("hard", "lib/new"),
    )
    with stacked(tmp_path, BASE, top) as merged:
        assert os.readlink(merged / "lib") == "usr/lib"
        assert os.readlink(merged / "abs") == "/usr"
        assert (merged / "usr/lib/new").read_bytes() == b"1"
        assert (merged / "usr/lib/deep/er").read_bytes() == b"2"
        assert (merged / "usr/share/doc").read_bytes() == b"3"
        assert not (merged / "usr/lib/old").exists()
        assert os.path.samestat(os.lstat(merged / "hard"), os.lstat(merged / "usr/lib/new"))
        assert stat.S_IMODE(os.lstat(merged / "usr/lib").st_mode) == 0o711
        assert os.lstat(merged / "usr/lib").st_mtime == 1_234_567_890


def test_a_listed_directory_takes_the_place_of_a_link(tmp_path):
    with stacked(tmp_path, BASE, archive(directory("lib"), member("lib/new"))) as merged:
        assert not (merged / "lib").is_symlink()
        assert not (merged / "usr/lib/new").exists()


def test_hard_links_into_lower_layers(tmp_path):
    top = archive(
        directory("etc", mtime=99),
        link("etc/hard", "usr/lib/old"),
        link("by-link", "lib/old"),
        link("of-link", "abs"),
        link("again", "etc/hard"),
    )
    with stacked(tmp_path, BASE, archive(member("between")), top) as merged:
        old = os.lstat(merged / "usr/lib/old")
        for name in ("etc/hard", "by-link", "again"):
            assert os.path.samestat(os.lstat(merged / name), old)
        assert os.readlink(merged / "of-link") == "/usr"
        assert os.lstat(merged / "etc").st_mtime == 99


@pytest.mark.parametrize(
    ("middle", "target"),
    [
        (archive(whiteout("usr/lib/.wh.old")), "usr/lib/old"),
        (archive(whiteout(".wh.usr")), "usr/lib/old"),
        (archive(whiteout("usr/.wh..wh..opq")), "usr/lib/old"),
        (archive(member("usr", b"file")), "usr/lib/old"),
        (archive(whiteout(".wh.lib")), "lib/old"),
        (archive(), "no/such/file"),
        (archive(), "etc"),
    ],
)
def test_hard_links_to_what_does_not_show_are_refused(tmp_path, middle, target):
    from runengine.errors import Corrupt

    with (
        pytest.raises(Corrupt, match=f"'l' is a hard link to '{target}'"),
        stacked(tmp_path, BASE, middle, archive(link("l", target))),
    ):
        raise AssertionError("mounted")


def test_lower_layers_are_left_as_they_were(tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    unpack(BASE, alone)
    top = archive(link("l", "file"), member("usr/lib/new"), whiteout("etc/.wh..wh..opq"))
    with stacked(tmp_path, BASE, top):
        before, after = manifest(alone), manifest(tmp_path / "layer0")
        assert before == after


def test_a_device_0_0_reads_as_absence(tmp_path):
    top = archive(member("file", kind=tarfile.CHRTYPE, devmajor=0, devminor=0))
    with stacked(tmp_path, BASE, top) as merged:
        assert "file" not in names(merged)


def test_gnu_tar_and_we_agree_on_a_real_tree(tmp_path):
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    (source / "a/file").write_bytes(os.urandom(300_000))
    with open(source / "a/sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(9 << 20)
    os.link(source / "a/file", source / "a/b/hard")
    os.symlink("../a", source / "a/b/link")
    os.mkfifo(source / "fifo")
    os.mknod(source / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.setxattr(source / "a/file", "user.x", b"\0\xff")
    os.setxattr(source / "a/file", "security.capability", CAPABILITY)
    os.chown(source / "a/b", 12, 34)
    (source / ("long" * 60)).mkdir()
    (source / ("long" * 60) / ("name" * 60)).write_bytes(b"x")
    for style in ("gnu", "pax", "posix --sparse-version=0.0", "posix --sparse-version=0.1"):
        _check_against_source(tmp_path, source, style)


def _check_against_source(tmp_path, source, style):
    dest = tmp_path / "unpacked"
    dest.mkdir()
    options = f"--format={style} --sparse --xattrs --xattrs-include=*".split()
    command = ["tar", *options, "--numeric-owner", "-C", source, "-c", "."]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    unpack(data, dest)
    ours, theirs = manifest(dest), manifest(source)
    if style == "gnu":
        # This format has whole seconds and no attributes.
        ours, theirs = ({k: v._replace(mtime_ns=v.mtime_ns // 10**9, xattrs=())
                         for k, v in tree.items()} for tree in (ours, theirs))
    assert ours == theirs
    assert os.lstat(dest / "a/sparse").st_blocks * 512 < 1 << 20
    shutil.rmtree(dest)


def test_five_sparse_gigabytes_take_no_room_and_no_memory(dest):
    size = 5 << 30
    records = record("GNU.sparse.major", b"1") + record("GNU.sparse.realsize", b"%d" % size)
    body = b"1\n%d\n4\n" % (size - 4)
    body = body.ljust(512, b"\0") + b"tail"
    data = extended(records) + header(member("s", body)[0]) + body.ljust(1024, b"\0")
    unpack(data + bytes(1024), dest)
    seen = os.lstat(dest / "s")
    assert seen.st_size == size
    assert seen.st_blocks * 512 < 1 << 20
