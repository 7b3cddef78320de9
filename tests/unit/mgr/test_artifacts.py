"""Plain files as artifacts of a registry, there and back, and names that lead elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runengine.config import defaults
from runengine.errors import Corrupt, InvalidParameter, NotFound, Unavailable, Unsupported
from runengine.mgr.registry.artifact import File
from runengine.mgr.registry.manager import RegistryMgr
from runengine.oci_spec import image, media_types
from runengine.paths import Paths
from tests.support.fake_registry import Fault
from tests.support.layouts import Layout, digest_of
from tests.support.push_registry import PushRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "org.opencontainers.image.title"


@pytest.fixture
def fake(monkeypatch) -> Iterator[PushRegistry]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with PushRegistry() as registry:
        yield registry


@pytest.fixture
def manager(tmp_path, monkeypatch) -> RegistryMgr:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return RegistryMgr(defaults(Paths(str(tmp_path), str(tmp_path))))


@pytest.fixture
def files(tmp_path) -> list[File]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_bytes(b"hello")
    (tmp_path / "in/b.json").write_bytes(b"{}")
    return [
        File(str(tmp_path / "in/a.txt")),
        File(str(tmp_path / "in/b.json"), "application/json"),
    ]


def serve(fake, *layers: tuple[str | None, bytes], **fields: Any) -> str:
    """An artifact as somebody else made it; its name."""
    entries = []
    for title, data in layers:
        fake.blobs[digest_of(data)] = data
        entry = {"mediaType": "x/y", "digest": digest_of(data), "size": len(data)}
        entries.append({**entry, "annotations": {TITLE: title}} if title is not None else entry)
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {"mediaType": "application/x", "digest": digest_of(b"{}"), "size": 2},
        "layers": entries,
        **fields,
    }
    fake.put("1", json.dumps(document).encode(), media_types.OCI_MANIFEST)
    return f"{fake.host}/files:1"


def test_there_and_back(manager, fake, files, tmp_path) -> None:
    name = f"{fake.host}/files:1"
    made = manager.push_artifact(
        name, files, artifact_type="application/vnd.me", annotations={"k": "v"}
    )
    document = json.loads(fake.blobs[fake.tags["1"]])
    assert document["artifactType"] == "application/vnd.me"
    assert document["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert document["annotations"]["k"] == "v"
    assert [layer["mediaType"] for layer in document["layers"]] == [
        "application/octet-stream",
        "application/json",
    ]
    assert manager.show_artifact(name) == made
    assert manager.pull_artifact(name, str(tmp_path / "out/deep")) == made
    assert (tmp_path / "out/deep/a.txt").read_bytes() == b"hello"
    assert (tmp_path / "out/deep/b.json").read_bytes() == b"{}"
    assert len(list((tmp_path / "out/deep").iterdir())) == 2
    fake.asked.clear()
    manager.push_artifact(name, files)
    assert fake.methods() == ["HEAD", "HEAD", "HEAD", "PUT"]


def test_files_that_cannot_be_pushed(manager, fake, files, tmp_path) -> None:
    name = f"{fake.host}/files:1"
    for wrong, error, words in (
        ([File(str(tmp_path / "gone"))], NotFound, "there is no file"),
        ([File(str(tmp_path))], InvalidParameter, "is a directory"),
        ([files[0], files[0]], InvalidParameter, "two files have the name"),
        ([], InvalidParameter, "no file to push"),
    ):
        with pytest.raises(error, match=words):
            manager.push_artifact(name, wrong)
    with pytest.raises(InvalidParameter, match="digest reference"):
        manager.push_artifact(f"{fake.host}/files@{digest_of(b'')}", files)
    assert fake.asked == []


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/../../x", "a//b", "./x", "a/.", "", "a\nb", "a\0b", "x" * 5000],
)
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    manager, fake, tmp_path, name
) -> None:
    text = serve(fake, ("good", b"1"), (name, b"2"))
    if name == "":
        manager.pull_artifact(text, str(tmp_path / "out"))
        assert os.listdir(tmp_path / "out") == ["good"]
        return
    with pytest.raises(Corrupt, match="would not be in the directory"):
        manager.pull_artifact(text, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_links_in_the_directory_lead_nowhere(manager, fake, tmp_path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "folder").symlink_to(outside)
    (out / "link").symlink_to(outside / "file")
    with pytest.raises(InvalidParameter, match="cannot write folder/x"):
        manager.pull_artifact(serve(fake, ("folder/x", b"1")), str(out))
    manager.pull_artifact(serve(fake, ("link", b"new")), str(out))
    assert (outside / "file").read_bytes() == b"mine"
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (out / "link").read_bytes() == b"new"
    assert not (out / "link").is_symlink()


def test_folders_below_and_files_in_the_way(manager, fake, tmp_path) -> None:
    out = tmp_path / "out"
    manager.pull_artifact(serve(fake, ("a/b/c", b"1"), ("a/d", b"2")), str(out))
    assert (out / "a/b/c").read_bytes() == b"1"
    with pytest.raises(InvalidParameter, match="cannot write a/d/e"):
        manager.pull_artifact(serve(fake, ("a/d/e", b"3")), str(out))
    with pytest.raises(InvalidParameter, match="cannot write a"):
        manager.pull_artifact(serve(fake, ("a", b"4")), str(out))
    assert not list(out.rglob("*.part"))


def test_files_that_are_there_may_be_kept(manager, fake, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "x").write_bytes(b"old")
    name = serve(fake, ("x", b"new"))
    manager.pull_artifact(name, str(out), keep_old=True)
    assert (out / "x").read_bytes() == b"old"
    manager.pull_artifact(name, str(out))
    assert (out / "x").read_bytes() == b"new"


def test_wrong_content_is_not_kept(manager, fake, tmp_path) -> None:
    name = serve(fake, ("x", b"right"))
    fake.blobs[digest_of(b"right")] = b"wrong"
    with pytest.raises(Corrupt, match="wrong content"):
        manager.pull_artifact(name, str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_break_is_tried_again(manager, fake, tmp_path) -> None:
    name = serve(fake, ("x", b"right"))
    fake.faults["/blobs/"] = Fault(cut_after=2, times=2)
    manager.pull_artifact(name, str(tmp_path / "out"))
    assert (tmp_path / "out/x").read_bytes() == b"right"
    fake.faults["/blobs/"] = Fault(cut_after=2)
    with pytest.raises(Unavailable):
        manager.pull_artifact(name, str(tmp_path / "out"))
    assert (tmp_path / "out/x").read_bytes() == b"right"


def test_a_packed_directory_stays_packed(manager, fake, tmp_path) -> None:
    name = serve(fake, ("folder", b"tar"))
    document = json.loads(fake.blobs[fake.tags["1"]])
    document["layers"][0]["annotations"]["io.deis.oras.content.unpack"] = "true"
    fake.put("1", json.dumps(document).encode(), media_types.OCI_MANIFEST)
    manager.pull_artifact(name, str(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == ["folder.tar.gz"]


def test_two_files_of_one_name(manager, fake, tmp_path) -> None:
    with pytest.raises(Corrupt, match="two files of the same name"):
        manager.pull_artifact(serve(fake, ("x", b"1"), ("x", b"2")), str(tmp_path / "out"))


def test_images_and_indexes_are_no_artifacts(manager, fake, tmp_path) -> None:
    layout = Layout()
    one = layout.image({"x": b"x"})
    fake.blobs.update(layout.blobs)
    fake.tag("1", one)
    with pytest.raises(Unsupported, match="is a container image, not an artifact"):
        manager.show_artifact(f"{fake.host}/a:1")
    fake.tag("2", layout.index(linux_amd64=one))
    fake.blobs.update(layout.blobs)
    with pytest.raises(Unsupported, match="is an index, not an artifact"):
        manager.pull_artifact(f"{fake.host}/a:2", str(tmp_path / "out"))


def test_an_artifact_is_no_image() -> None:
    document = {
        "schemaVersion": 2,
        "artifactType": "application/vnd.me",
        "config": {"mediaType": "application/x", "digest": digest_of(b""), "size": 0},
        "layers": [],
    }
    with pytest.raises(Unsupported, match=r"type 'application/vnd\.me'.*artifact pull"):
        image.parse_manifest(json.dumps(document).encode())


def test_a_directory_that_cannot_be_made(manager, fake, tmp_path) -> None:
    Path(tmp_path / "file").touch()
    with pytest.raises(InvalidParameter, match="cannot write to"):
        manager.pull_artifact(serve(fake, ("x", b"1")), str(tmp_path / "file"))
