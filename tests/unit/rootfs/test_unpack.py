"""Unpacking, as far as it goes without being root."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import threading

import pytest

from runengine.errors import Corrupt, EngineError, InvalidParameter
from runengine.rootfs import filling, layertree
from runengine.rootfs import unpack as unpack_module
from runengine.rootfs.unpack import Limits, unpack_layer
from runengine.rootfs.walk import remove_tree
from tests.support.tars import (
    END,
    MTIME,
    archive,
    directory,
    extended,
    header,
    link,
    member,
    record,
    symlink,
)

FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]


@pytest.fixture
def dest(tmp_path):
    """Where to unpack."""
    path = tmp_path / "diff"
    path.mkdir()
    return path


def unpack(data: bytes, dest, **limits):
    return unpack_layer(io.BytesIO(data), str(dest), Limits(**limits))


def test_reports_the_hash_and_length_of_the_whole_uncompressed_stream(dest):
    data = archive(member("a", b"x" * 1000)) + bytes(50_000)
    done = unpack(gzip.compress(data), dest)
    assert done.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert done.tar_bytes == len(data)
    assert done.links == []
    assert done.implicit_dirs == []


@pytest.mark.parametrize("format", FORMATS)
def test_files_directories_and_links_look_as_they_should(dest, format):
    unpack(
        archive(
            directory("./"),
            directory("etc", mode=0o1777),
            member("etc/a", b"hello", mode=0o4711),
            symlink("etc/to-a", "a"),
            symlink("etc/odd", "../../../outside//x"),
            link("b", "etc/a"),
            link("c", "etc/to-a"),
            member("fifo", kind=tarfile.FIFOTYPE, mode=0o622),
            format=format,
        ),
        dest,
    )
    seen = os.lstat(dest / "etc/a")
    assert (dest / "etc/a").read_bytes() == b"hello"
    assert stat.S_IMODE(seen.st_mode) == 0o4711
    assert seen.st_mtime_ns == MTIME * 10**9
    assert os.path.samestat(seen, os.lstat(dest / "b"))
    assert os.path.samestat(os.lstat(dest / "c"), os.lstat(dest / "etc/to-a"))
    assert os.readlink(dest / "etc/odd") == "../../../outside//x"
    assert os.lstat(dest / "etc/odd").st_mtime_ns == MTIME * 10**9
    assert stat.S_IMODE(os.lstat(dest / "etc").st_mode) == 0o1777
    assert os.lstat(dest / "etc").st_mtime_ns == MTIME * 10**9
    assert os.lstat(dest / "fifo").st_mode == stat.S_IFIFO | 0o622


def test_times_are_exact_in_pax_archives(dest):
    ns = 1_600_000_000_123_456_789
    headers = {"mtime": "1600000000.123456789"}
    unpack(archive(member("a", pax_headers=headers), directory("d", pax_headers=headers)), dest)
    assert os.lstat(dest / "a").st_mtime_ns == ns
    assert os.lstat(dest / "d").st_mtime_ns == ns


@pytest.mark.parametrize("mtime", [2**80, -(2**70)])
def test_times_that_no_file_can_have_become_the_epoch(dest, mtime):
    unpack(archive(member("a", mtime=mtime), format=tarfile.GNU_FORMAT), dest)
    assert os.lstat(dest / "a").st_mtime_ns == 0


@pytest.mark.parametrize("format", FORMATS)
def test_odd_names_come_out_byte_for_byte(dest, format):
    names = [
        "bytes-\udcff\udc80",
        "tab\tnew\nline",
        "spät",
        "trailing ",
        "back\\slash",
        "C:drive",
        "a..b",
        "...",
        "-rf",
        "x" * 255,
        "/".join(["long" * 50] * 6),
    ]
    unpack(archive(*(member(name, name.encode("utf-8", "replace")) for name in names),
                   format=format), dest)
    for name in names:
        assert (dest / name).read_bytes() == name.encode("utf-8", "replace")


def test_names_longer_than_a_system_call_takes(dest):
    name = "/".join(["d" * 250] * 20) + "/file"
    done = unpack(archive(member(name, b"deep")), dest)
    assert len(done.implicit_dirs) == 20
    (top,) = os.listdir(dest)
    assert top == "d" * 250


@pytest.mark.parametrize("name", ["./a/b", "/a/b", "//a//b", "a/./b", ".//./a/b/"])
def test_spellings_of_a_name(dest, name):
    unpack(archive(member(name, b"x")), dest)
    assert (dest / "a/b").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/..", "a/../b", "./.."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_names_with_two_dots_are_refused(dest, name, kind):
    with pytest.raises(InvalidParameter, match="leads out of the image"):
        unpack(archive(member(name, kind=kind, linkname="x")), dest)
    assert os.listdir(dest.parent) == ["diff"]


@pytest.mark.parametrize("target", ["../x", "a/../../etc/passwd", "/../x"])
def test_hard_links_with_two_dots_are_refused(dest, target):
    with pytest.raises(InvalidParameter, match=r"'evil' links to .*, which leads out"):
        unpack(archive(link("evil", target)), dest)


def test_writing_through_links_stays_inside(dest, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    unpack(
        archive(
            symlink("abs", str(outside)),
            member("abs/file", b"1"),
            symlink("up", "../../../../outside"),
            member("up/file2", b"2"),
            symlink("final", str(outside / "file")),
            member("final", b"3"),
        ),
        dest,
    )
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "untouched"
    assert (dest / str(outside).lstrip("/") / "file").read_bytes() == b"1"
    assert (dest / "outside/file2").read_bytes() == b"2"
    assert not (dest / "final").is_symlink()


def test_links_to_directories_of_the_layer_are_followed_for_parents(dest):
    done = unpack(
        archive(
            directory("usr"),
            directory("usr/lib"),
            symlink("lib", "usr/lib"),
            member("lib/x", b"1"),
            directory("lib/sub", mode=0o700),
            link("y", "/lib/x"),
        ),
        dest,
    )
    assert (dest / "usr/lib/x").read_bytes() == b"1"
    assert stat.S_IMODE(os.lstat(dest / "usr/lib/sub").st_mode) == 0o700
    assert os.path.samestat(os.lstat(dest / "y"), os.lstat(dest / "usr/lib/x"))
    assert done.implicit_dirs == []


@pytest.mark.needs("root")  # What replaces a file is marked opaque, which takes privilege.
def test_later_members_win(dest):
    unpack(
        archive(
            member("file-dir", b"old"),
            directory("file-dir"),
            directory("dir-file"),
            member("dir-file/x", b"gone"),
            member("dir-file", b"new"),
            member("twice", b"a long one", mode=0o600),
            link("other", "twice"),
            member("twice", b"b", mode=0o640),
            symlink("link", "usr"),
            directory("link", mode=0o711),
            directory("dir-link"),
            symlink("dir-link", "twice"),
            directory("kept", mode=0o700),
            member("kept/x", b"x"),
            directory("kept", mode=0o750),
            member("fifo", kind=tarfile.FIFOTYPE),
            member("fifo", b"file"),
        ),
        dest,
    )
    assert (dest / "file-dir").is_dir()
    assert (dest / "dir-file").read_bytes() == b"new"
    assert (dest / "twice").read_bytes() == b"b"
    assert (dest / "other").read_bytes() == b"a long one"
    assert stat.S_IMODE(os.lstat(dest / "link").st_mode) == 0o711
    assert os.readlink(dest / "dir-link") == "twice"
    assert (dest / "kept/x").read_bytes() == b"x"
    assert stat.S_IMODE(os.lstat(dest / "kept").st_mode) == 0o750
    assert (dest / "fifo").read_bytes() == b"file"


def test_a_link_to_itself_is_kept(dest):
    unpack(archive(member("a", b"x"), link("a", "a"), link("b", "a"), link("b", "a")), dest)
    assert (dest / "a").read_bytes() == b"x"
    assert os.lstat(dest / "a").st_nlink == 2


def test_unlisted_directories_are_reported_parents_first(dest):
    done = unpack(
        archive(member("b/c/d/file"), directory("x/y"), directory("b/c"), member("z/f")), dest
    )
    assert done.implicit_dirs[:3] == sorted(done.implicit_dirs[:3], key=len)
    assert set(done.implicit_dirs) == {"b", "x", "z", "b/c/d"}
    seen = os.lstat(dest / "b/c/d")
    assert (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (0o755, 0)


def test_links_into_lower_layers_are_handed_back(dest):
    done = unpack(
        archive(
            link("a", "lower/file"),
            link("b", "a"),
            link("over", "lower/x"),
            member("over", b"mine"),
            member("was", b"mine"),
            link("was", "/lower/y"),
            directory("dir"),
            link("dir/z", "lower/z"),
            member("dir", b"a file now"),
        ),
        dest,
    )
    assert done.links == [("a", "lower/file"), ("b", "lower/file"), ("was", "lower/y")]
    assert sorted(os.listdir(dest)) == ["dir", "over"]
    assert (dest / "over").read_bytes() == b"mine"


def test_hard_links_to_directories_are_refused(dest):
    with pytest.raises(Corrupt, match="'l' is a hard link to a directory"):
        unpack(archive(directory("d"), link("l", "d")), dest)


def test_files_cannot_have_children(dest):
    with pytest.raises(Corrupt, match=r"'f/x' cannot be unpacked: Not a directory"):
        unpack(archive(member("f"), member("f/x")), dest)


def test_loops_of_links_end(dest):
    with pytest.raises(Corrupt, match=r"'a/x' cannot be unpacked: Too many levels"):
        unpack(archive(symlink("a", "b"), symlink("b", "a"), member("a/x")), dest)


def test_the_root_must_be_a_directory(dest):
    with pytest.raises(Corrupt, match="root directory is not a directory"):
        unpack(archive(symlink("./", "elsewhere")), dest)


def test_the_root_takes_its_own_entry(dest):
    unpack(archive(directory("./", mode=0o1770), member("x")), dest)
    seen = os.lstat(dest)
    assert (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (0o1770, MTIME * 10**9)


@pytest.mark.parametrize("kind", [b"Z", b"D", b"N", b"M"])
def test_unknown_types_are_refused(dest, kind):
    data = header(member("a")[0], (156, kind)) + END
    with pytest.raises(Corrupt, match="'a' has the unknown type"):
        unpack(data, dest)


def test_labels_are_passed_over(dest):
    unpack(header(member("label")[0], (156, b"V")) + archive(member("a")), dest)
    assert os.listdir(dest) == ["a"]


@pytest.mark.parametrize("cut", [73, 511, 512, 600, 1024, 3072, 3073, 3100, 3584, 4200])
def test_truncated_archives_are_corrupt(dest, cut):
    data = archive(member("first", b"1" * 100), member("second", b"2" * 3000))[: 512 * 9]
    if cut == 3584:
        # Between two members: as if the second had never been.
        unpack(data[: len(data) - cut], dest)
        return
    with pytest.raises(Corrupt, match=r"the layer ends within ('first'|'second'|a header)"):
        unpack(data[: len(data) - cut], dest)


@pytest.mark.parametrize("size", [612, 613, 1024, 1024 + 512])
def test_the_end_blocks_and_the_last_padding_may_be_missing(dest, size):
    data = archive(member("first", b"1" * 100))[:size]
    assert unpack(data, dest).tar_bytes == size
    assert (dest / "first").read_bytes() == b"1" * 100


@pytest.mark.parametrize("data", [b"", b"x", b"hello, I am not an archive\n" * 100, b"\1" * 512])
def test_what_is_no_archive_is_corrupt(dest, data):
    with pytest.raises(Corrupt, match=r"the layer (is not a tar archive|is empty|ends within)"):
        unpack(data, dest)


@pytest.mark.parametrize("garbage", [b"x", bytes(100_000) + b"x", archive(member("second"))])
def test_data_after_the_end_is_corrupt(dest, garbage):
    with pytest.raises(Corrupt, match="data follows the end"):
        unpack(archive(member("a")) + garbage, dest)


@pytest.mark.parametrize("uid", [2**32 - 1, 2**33])
def test_owners_that_chown_would_take_for_nobody_are_refused(dest, uid):
    with pytest.raises(Corrupt, match="owner"):
        unpack(archive(member("a", uid=uid)), dest)


def test_zero_bytes_in_names_are_refused(dest):
    data = extended(record("path", b"a\0b")) + archive(member("x"))
    with pytest.raises(Corrupt, match="zero byte"):
        unpack(data, dest)


def test_names_that_no_filesystem_takes_are_refused(dest):
    with pytest.raises(Corrupt, match="cannot be unpacked: File name too long"):
        unpack(archive(member("x" * 256)), dest)
    with pytest.raises(Corrupt, match="a name of"):
        unpack(archive(member("x/" * 40_000)), dest)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_extended_headers_are_bounded(dest, kind):
    huge = header(member("pax")[0], (156, kind), (124, b"77777777777\0"))
    with pytest.raises(Corrupt, match="an extended header of"):
        unpack(huge + END, dest)


def test_thousands_of_extended_headers_in_a_row_are_read(dest):
    unpack(extended(record("comment", b"x")) * 5000 + archive(member("a")), dest)
    assert os.listdir(dest) == ["a"]


def test_an_extended_header_without_a_member_is_truncation(dest):
    with pytest.raises(Corrupt, match="ends within a header"):
        unpack(extended(record("path", b"x")) + END, dest)


def test_global_headers_hold_for_what_follows(dest):
    data = extended(record("mtime", b"5"), b"g") + archive(
        member("a"), member("b", pax_headers={"mtime": "7"})
    )
    unpack(data, dest)
    assert os.lstat(dest / "a").st_mtime_ns == 5 * 10**9
    assert os.lstat(dest / "b").st_mtime_ns == 7 * 10**9


def test_limits_on_members_and_bytes(dest):
    data = archive(*(member(f"f{n}", b"x" * 100) for n in range(10)))
    with pytest.raises(InvalidParameter, match="more than 9 members"):
        unpack(data, dest, max_members=9)
    unpack(data, dest, max_members=10)
    with pytest.raises(InvalidParameter, match="more than 5000 bytes"):
        unpack(data, dest, max_bytes=5000)


def test_a_bomb_is_stopped_at_once(dest):
    bomb = header(member("big")[0], (124, b"77777777777\0")) + bytes(1 << 20)
    with pytest.raises(InvalidParameter, match="more than 1000000 bytes"):
        unpack(gzip.compress(bomb), dest, max_bytes=1_000_000)


def test_the_last_bytes_of_the_disk_are_left_alone(dest):
    with pytest.raises(EngineError, match="no space left on the disk to unpack"):
        unpack(archive(member("a", b"x")), dest, min_free_bytes=1 << 62)


@pytest.mark.parametrize(
    ("module", "name", "size"),
    [(filling, "write_all", 1), (unpack_module, "write_member", 70_000)],
)
def test_a_full_disk_is_one_line(dest, monkeypatch, module, name, size):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, name, full)
    with pytest.raises(EngineError, match=r"no space left on the disk to unpack .*member 'a'"):
        unpack(archive(member("a", b"x" * size)), dest)


def test_nothing_is_left_open_or_running(dest):
    fds, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    unpack(archive(*(member(f"{n}/{n}/f") for n in range(300))), dest)
    with pytest.raises(Corrupt):
        unpack(archive(member("a", b"x" * 5000))[:1000], dest)
    assert len(os.listdir("/proc/self/fd")) == fds
    assert threading.active_count() == threads


def test_a_vanished_working_directory_does_not_matter(dest, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    unpack(archive(member("a"), member("b")), dest)
    assert sorted(os.listdir(dest)) == ["a", "b"]


def test_names_that_call_for_too_many_directories_are_refused(dest, monkeypatch):
    monkeypatch.setattr(layertree, "MAX_KEPT_BYTES", 1_500_000)
    name = "d/" * 3000 + "file"
    try:
        with pytest.raises(InvalidParameter, match="too many things that it does not contain"):
            unpack(archive(member(name), format=tarfile.GNU_FORMAT), dest)
        done = unpack(archive(member("e/" * 500 + "file"), format=tarfile.GNU_FORMAT), dest)
        assert len(done.implicit_dirs) > 500
    finally:
        # Deeper than pytest's own way to clean up can go.
        remove_tree(str(dest))
