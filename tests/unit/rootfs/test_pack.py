"""Archives of files: what any reader of tar finds in them."""

from __future__ import annotations

import io
import os
import socket
import tarfile

import pytest

from runengine.rootfs import packheader
from runengine.rootfs.pack import LAYER, PLAIN, Packer
from runengine.rootfs.sink import FileSink


def packed(directory, tmp_path, name="", style=PLAIN):
    """The archive of a directory, read by the standard library."""
    target = tmp_path / "packed.tar"
    source = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        sink = FileSink(out)
        packer = Packer(sink, style)
        packer.tree(source, name)
        packer.finish()
        sink.flush()
    finally:
        os.close(source)
        os.close(out)
    return tarfile.open(target)


@pytest.fixture
def files(tmp_path):
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


def test_parents_come_first_and_names_are_sorted(files, tmp_path):
    for name in ("b/y", "b/x", "a/z", "top"):
        (files / name).parent.mkdir(exist_ok=True)
        (files / name).write_text(name)
    with packed(files, tmp_path) as archive:
        assert archive.getnames() == [".", "top", "a", "a/z", "b", "b/x", "b/y"]
        assert archive.extractfile("b/x").read() == b"b/x"
    with packed(files, tmp_path, "new/name") as archive:
        assert archive.getnames()[:2] == ["new/name", "new/name/top"]


def test_kinds_modes_and_times(files, tmp_path):
    (files / "link").symlink_to("/somewhere/else")
    os.mkfifo(files / "pipe", 0o640)
    (files / "file").write_bytes(b"x")
    (files / "file").chmod(0o4755)
    os.utime(files / "file", ns=(0, 1_500_000_000_123_456_789))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files / "socket"))
    with packed(files, tmp_path) as archive:
        assert archive.getmember("link").linkname == "/somewhere/else"
        assert archive.getmember("pipe").isfifo()
        assert archive.getmember("pipe").mode == 0o640
        assert archive.getmember("file").mode == 0o4755
        assert archive.getmember("file").pax_headers["mtime"] == "1500000000.123456789"
        assert "socket" not in archive.getnames()
    with packed(files, tmp_path, style=LAYER) as archive:
        assert archive.getmember("file").mtime == 1_500_000_000
        assert not archive.getmember("file").pax_headers


def test_a_second_name_is_a_link(files, tmp_path):
    (files / "a").write_bytes(b"once")
    (files / "b").hardlink_to(files / "a")
    with packed(files, tmp_path) as archive:
        assert archive.getmember("b").islnk()
        assert archive.getmember("b").linkname == "a"


@pytest.mark.parametrize(
    "name",
    [
        "n" * 100,
        "n" * 101,
        f"{'d' * 120}/{'n' * 100}",
        f"{'d' * 200}/{'n' * 200}",
        "ä\udcff",
        "new\nline",
    ],
)
def test_every_name(files, tmp_path, name):
    (files / name).parent.mkdir(exist_ok=True)
    (files / name).write_bytes(b"content")
    with packed(files, tmp_path) as archive:
        assert archive.extractfile(archive.getmembers()[-1]).read() == b"content"
        assert archive.getnames()[-1] == name


def test_holes_are_left_out(files, tmp_path):
    with (files / "sparse").open("wb") as file:
        file.seek(10 << 20)
        file.write(b"middle")
        file.seek(30 << 20)
        file.write(b"end")
    (files / "then").write_bytes(b"next")
    with packed(files, tmp_path) as archive:
        content = archive.extractfile("sparse").read()
        assert archive.extractfile("then").read() == b"next"
    assert len(content) == (30 << 20) + 3
    assert content.replace(b"\0", b"") == b"middleend"
    assert content.index(b"middle") == 10 << 20
    assert content.endswith(b"end")
    assert (tmp_path / "packed.tar").stat().st_size < 1 << 20
    with packed(files, tmp_path, style=LAYER) as archive:
        assert archive.getmember("sparse").size == (30 << 20) + 3
    assert (tmp_path / "packed.tar").stat().st_size > 30 << 20


def test_a_large_file_is_copied_whole(files, tmp_path):
    content = os.urandom(300_001)
    (files / "large").write_bytes(content)
    with packed(files, tmp_path) as archive:
        assert archive.extractfile("large").read() == content


def test_a_file_that_shrinks_is_filled_up(files, tmp_path):
    (files / "file").write_bytes(b"0123456789")
    source = os.open(files / "file", os.O_RDONLY)
    out = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT, 0o600)
    sink = FileSink(out)
    sink.write(b"head ")
    sink.copy(source, 100_000)
    sink.write(b"tail")
    sink.flush()
    os.close(source)
    os.close(out)
    assert (tmp_path / "out").read_bytes() == b"head 0123456789" + bytes(99_990) + b"tail"


def test_numbers_that_no_header_holds():
    block = packheader.build(
        packheader.Fields(b"f", 0o644, 1 << 31, 1 << 30, 9 << 30, -1_500_000_000)
    )
    with tarfile.open(fileobj=io.BytesIO(block + bytes(1024))) as archive:
        info = archive.next()
    assert info is not None
    assert (info.uid, info.gid, info.size, info.mtime) == (1 << 31, 1 << 30, 9 << 30, -1.5)
