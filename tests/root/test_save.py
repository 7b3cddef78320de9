"""save, and what it writes read by everybody (rows N-16, N-17)."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from runengine.errors import Corrupt, InvalidParameter, NotFound, Unsupported
from runengine.oci_spec import media_types
from tests.support.images import (
    ONE,
    TWO,
    docker_files,
    image_config,
    layout_files,
    residue,
    tar_stream,
)
from tests.support.layouts import Layout, digest_of

pytestmark = pytest.mark.root


@pytest.fixture
def saved(images, tmp_path):
    """Save and give the archive's path."""

    def save(*names, **options):
        path = tmp_path / f"saved-{len(list(tmp_path.glob('saved-*')))}.tar"
        with path.open("wb") as file:
            images.save(names, file.fileno(), **options)
        return path

    return save


@pytest.fixture
def two(images):
    """``app:1`` of two layers, and ``app:2`` and ``other:1`` of the first of them."""
    files = docker_files(ONE, TWO, tags=("app:1",))
    entries = json.loads(files["manifest.json"])
    files["other.json"] = image_config(ONE)
    tags = ["app:2", "other:1"]
    layers = ["layer0/layer.tar"]
    entries.append({"Config": "other.json", "RepoTags": tags, "Layers": layers})
    files["manifest.json"] = json.dumps(entries).encode()
    images.load(tar_stream(files))
    return images


def members(path):
    with tarfile.open(path) as archive:
        return archive.getnames()


def read(path, name):
    with tarfile.open(path) as archive:
        document = archive.extractfile(name)
        assert document is not None
        return json.load(document)


def unpacked(path, directory):
    folder = directory / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xf", str(path), "-C", str(folder)], check=True)
    return folder


def test_one_archive_is_both_and_has_every_blob_once(two, saved):
    path = saved("app:1", "other:1")
    names = members(path)
    assert names[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert len(names) == len(set(names))
    blobs = {name.rpartition("/")[2] for name in names if name.startswith("blobs/sha256/")}
    assert len(blobs) == 2 + 2 + 2  # manifests, configs, layers
    docker = read(path, "manifest.json")
    assert [entry["RepoTags"] for entry in docker] == [["app:1"], ["other:1"]]
    assert docker[0]["Layers"][0] == docker[1]["Layers"][0]
    index = read(path, "index.json")["manifests"]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index] == [
        "docker.io/library/app:1",
        "docker.io/library/other:1",
    ]
    # The tag alone would not do where two have it.
    assert {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index} == {
        "docker.io/library/app:1",
        "docker.io/library/other:1",
    }


def test_a_repository_stands_for_its_tags_and_an_id_for_no_name(two, saved):
    assert [e["RepoTags"] for e in read(saved("app"), "manifest.json")] == [["app:1"], ["app:2"]]
    image = two.lookup("app:1").image_id
    assert read(saved(image[7:19]), "manifest.json")[0]["RepoTags"] is None
    assert read(saved(image), "index.json")["manifests"][0].get("annotations") is None
    both = read(saved("app:2", "other:1", "app:2"), "manifest.json")
    assert [entry["RepoTags"] for entry in both] == [["app:2", "other:1"]]


def test_the_same_images_make_the_same_archive(two, saved):
    assert saved("app", "other").read_bytes() == saved("app", "other").read_bytes()


def test_everything_is_the_same_after_a_round_trip(images, saved, tmp_path):
    layout = Layout()
    layout.tag("docker.io/library/app:1", layout.image({"f": b"x"}, {"g": b"y"}, docker=True))
    images.load(tar_stream(layout_files(layout)))
    before = images.lookup("app:1")
    path = saved("app:1")
    images.remove("app:1")
    images.collect_garbage(everything=True)
    with path.open("rb") as stream:
        assert images.load(stream) == ["app:1"]
    after = images.lookup("app:1")
    assert after.manifest_digest == before.manifest_digest == layout.tagged[0]["digest"]
    assert after.media_type == media_types.DOCKER_MANIFEST
    assert (after.image_id, after.layers) == (before.image_id, before.layers)
    images.remove("app:1")
    assert images.load(str(unpacked(path, tmp_path))) == ["app:1"]


def test_an_oci_archive_has_the_media_types_of_the_image_spec(images, saved):
    layout = Layout()
    layout.tag("docker.io/library/app:1", layout.image({"f": b"x"}, docker=True))
    images.load(tar_stream(layout_files(layout)))
    path = saved("app:1", format="oci-archive")
    assert "manifest.json" not in members(path)
    entry = read(path, "index.json")["manifests"][0]
    assert entry["mediaType"] == media_types.OCI_MANIFEST
    manifest = read(path, f"blobs/sha256/{entry['digest'][7:]}")
    assert manifest["config"]["mediaType"] == media_types.OCI_CONFIG
    assert manifest["layers"][0]["mediaType"] == f"{media_types.OCI_LAYER}+gzip"
    assert "index.json" not in members(saved("app:1", format="docker-archive"))


def test_what_cannot_be_saved(two, saved, roots):
    for names, options, error in (
        (("nope:1",), {}, NotFound),
        (("app:1",), {"format": "zip"}, InvalidParameter),
        (("app:1",), {"format": "oci-dir"}, Unsupported),
        (("app:1",), {"platform": "linux/s390x"}, NotFound),
    ):
        with pytest.raises(error):
            saved(*names, **options)
    blob = read(saved("app:1"), "manifest.json")[0]["Layers"][1]
    os.unlink(f"{roots.root}/{blob}")
    with pytest.raises(NotFound, match="a blob of image app:1 is not stored"):
        saved("app:1")


def test_a_pipe_whose_reader_leaves_is_an_error(two):
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        two.save(["app:1"], writer)
    os.close(writer)


def test_skopeo_and_umoci_read_both_halves(images, saved, tmp_path):
    if not shutil.which("skopeo") or not shutil.which("umoci"):
        pytest.skip("needs skopeo and umoci")
    layout = Layout()
    layout.tag("app:1", layout.image({"f": b"x"}, config={"Labels": {"k": "v"}}))
    images.load(tar_stream(layout_files(layout)))
    path = saved("app:1")
    for source in (f"docker-archive:{path}:app:1", f"oci-archive:{path}:1"):
        words = ["skopeo", "inspect", "--config", source]
        config = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        assert config["config"]["Labels"] == {"k": "v"}
    folder = unpacked(path, tmp_path)
    words = ["umoci", "unpack", "--image", f"{folder}:1", str(tmp_path / "bundle")]
    subprocess.run(words, check=True, capture_output=True)
    assert (tmp_path / "bundle/rootfs/f").read_bytes() == b"x"
    copied = f"dir:{tmp_path / 'flat'}"
    subprocess.run(
        ["skopeo", "copy", f"oci:{folder}:1", copied], check=True, capture_output=True
    )
    assert images.load(str(tmp_path / "flat")) == [images.lookup("app:1").image_id]


def test_a_folder_that_is_no_layout_or_leads_out(images, tmp_path, roots):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(Corrupt, match=r"no index\.json or manifest\.json"):
        images.load(str(folder))
    secret = tmp_path / "secret"
    secret.write_bytes(json.dumps([{"Config": "c", "Layers": []}]).encode())
    (folder / "manifest.json").symlink_to(secret)
    os.mkfifo(folder / "index.json")
    with pytest.raises(Corrupt, match=r"no manifest\.json or index\.json"):
        images.load(str(folder))
    with pytest.raises(InvalidParameter, match="cannot read"):
        images.load(str(tmp_path / "nothing"))
    assert residue(roots) == set()


def test_an_own_manifest_that_contradicts_the_archive_is_not_taken(images):
    files = docker_files(ONE)
    config = files["config.json"]
    wrong = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {"mediaType": media_types.OCI_CONFIG, "digest": digest_of(config), "size": 1},
        "layers": [],
    }
    data = json.dumps(wrong).encode()
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": digest_of(data), "size": len(data)}
    files[f"blobs/sha256/{digest_of(data)[7:]}"] = data
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    images.load(tar_stream(files))
    assert images.lookup("app:1").manifest_digest != digest_of(data)


def test_an_archive_for_another_platform(images):
    config = image_config(ONE, architecture="s390x")
    files = {**docker_files(ONE), "config.json": config}
    with pytest.raises(NotFound, match="no image for platform linux/amd64"):
        images.load(tar_stream(files), platform="linux/amd64")
    assert images.load(tar_stream(files), platform="linux/s390x") == ["app:1"]
    assert images.load(io.BytesIO(tar_stream(files).read())) == ["app:1"]
