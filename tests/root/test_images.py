"""load and import into real layer and blob stores (rows N-11, N-16)."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import time

import pytest
import zstandard

from runengine.errors import (
    Corrupt,
    InvalidParameter,
    NotFound,
)
from runengine.ids import hex_of
from runengine.oci_spec import media_types
from tests.support import needs
from tests.support.images import (
    ONE,
    TWO,
    Lines,
    docker_files,
    image_config,
    layout_files,
    needy_layers,
    read_layers,
    residue,
    tar_stream,
)
from tests.support.layouts import Layout, digest_of, tar_of
from tests.support.tars import archive, directory, member

pytestmark = pytest.mark.root

# load: docker archives


def test_docker_archive(images):  # N-16
    assert images.load(tar_stream(docker_files(ONE, TWO))) == ["app:1"]
    image = images.lookup("app:1")
    assert image.image_id == digest_of(image_config(ONE, TWO))
    assert image.layers == [hex_of(digest_of(ONE)), hex_of(digest_of(TWO))]
    assert read_layers(images, "app:1") == {"one": b"1" * 3000, "two": b"2" * 3000}
    assert images.inspect("app:1")["RootFS"]["Layers"] == [digest_of(ONE), digest_of(TWO)]
    assert image.size_bytes == len(ONE) + len(TWO)


def test_manifest_may_come_first_and_layers_be_compressed_anyhow(images):
    packed = [gzip.compress(ONE), zstandard.compress(TWO), bz2.compress(ONE), lzma.compress(TWO)]
    files = docker_files(*packed)
    files["config.json"] = image_config(ONE, TWO, ONE, TWO)
    first = {"manifest.json": files.pop("manifest.json"), **files}
    images.load(tar_stream(first))
    assert images.lookup("app:1").layers == [hex_of(digest_of(layer)) for layer in (ONE, TWO)] * 2


def test_layers_that_are_links_and_a_name_without_tag(images):
    files = docker_files(ONE, ONE, tags=("localhost:5000/app",))
    del files["layer1/layer.tar"]
    stream = tar_stream(files, {"layer1/layer.tar": "../layer0/layer.tar"})
    assert images.load(stream) == ["localhost:5000/app:latest"]


def test_several_images_share_layers(images, roots):
    files = docker_files(ONE, TWO, tags=("a:1", "b:1"))
    entries = json.loads(files["manifest.json"])
    files["other.json"] = image_config(ONE)
    entries.append({"Config": "other.json", "RepoTags": None, "Layers": ["layer0/layer.tar"]})
    files["manifest.json"] = json.dumps(entries).encode()
    unnamed = digest_of(image_config(ONE))
    assert images.load(tar_stream(files)) == ["a:1", "b:1", unnamed]
    assert sum(path.startswith("layers/") for path in residue(roots)) == 2
    images.remove("a:1")
    images.remove("b:1")
    assert read_layers(images, unnamed) == {"one": b"1" * 3000}


def test_the_whole_archive_may_be_compressed_and_come_through_a_pipe(images):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as stream:
        if not (child := os.fork()):
            with os.fdopen(writer, "wb") as target:
                target.write(gzip.compress(tar_stream(docker_files(ONE)).getvalue()))
            os._exit(0)
        os.close(writer)
        assert images.load(stream) == ["app:1"]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_name_moves_and_the_user_is_told(images):  # N-11
    images.load(tar_stream(docker_files(ONE)))
    old = images.lookup("app:1").image_id
    progress = Lines()
    images.load(tar_stream(docker_files(TWO)), progress=progress)
    assert images.lookup("app:1").image_id != old
    assert images.inspect(old)["RepoTags"] == []
    assert any("app:1 already exists" in line for line in progress.lines)


def test_image_that_is_removed_while_it_is_named(images, monkeypatch):
    store = images._context.store.images
    real, calls = store.set_name, []

    def racing(name, image_id, manifest_digest):
        calls.append(name)
        if len(calls) == 1:
            store.remove_image(image_id)
        return real(name, image_id, manifest_digest)

    monkeypatch.setattr(store, "set_name", racing)
    assert images.load(tar_stream(docker_files(ONE, tags=("a:1", "b:1")))) == ["a:1", "b:1"]
    assert images.lookup("a:1") == images.lookup("b:1")


# load: OCI layouts


def test_oci_layout(images):  # N-16
    layout = Layout()
    image = layout.image({"a": b"a"}, {"b": b"b"}, config={"Cmd": ["x"]})
    layout.tag("v1", image)
    layout.tag("docker.io/library/full:2", image)
    today = time.strftime("%Y-%m-%d")
    loaded = images.load(tar_stream(layout_files(layout)))
    assert loaded == [f"import-{today}:v1", "full:2"]
    assert images.lookup("full:2").manifest_digest == image["digest"]
    assert read_layers(images, "full:2") == {"a": b"a", "b": b"b"}


def test_repository_for_a_layout(images):  # N-16
    layout = Layout()
    layout.tag("v1", layout.image({"a": b"a"}))
    layout.tag("quay.io/other/app:2", layout.image({"b": b"b"}))
    files = layout_files(layout)
    assert images.load(tar_stream(files), name="my/app") == ["my/app:v1"]
    assert not images.exists("quay.io/other/app:2")
    assert images.load(tar_stream(files), name="quay.io/other/app") == [
        "quay.io/other/app:v1",
        "quay.io/other/app:2",
    ]


@pytest.mark.parametrize("name", ["app:1", "app@sha256:" + "a" * 64, "UPPER"])
def test_repository_with_a_tag_is_refused(images, name):  # N-16
    with pytest.raises(InvalidParameter):
        images.load(io.BytesIO(b""), name=name)


def test_repository_that_the_archive_lacks(images, roots):
    with pytest.raises(NotFound, match="other"):
        images.load(tar_stream(docker_files(ONE)), name="other")
    assert residue(roots) == set()


def test_platform_is_chosen(images):
    layout = Layout()
    index = layout.index(
        linux_amd64=layout.image({"a": b"amd64"}),
        linux_arm64=layout.image({"a": b"arm64"}, platform="linux/arm64"),
        unknown_unknown=layout.add(b"{}", media_types.OCI_MANIFEST),
    )
    layout.tag("multi", index)
    images.load(tar_stream(layout_files(layout)), name="x", platform="linux/amd64")
    assert read_layers(images, "x:multi") == {"a": b"amd64"}
    images.load(tar_stream(layout_files(layout)), name="x", platform="linux/arm64")
    assert read_layers(images, "x:multi") == {"a": b"arm64"}
    with pytest.raises(NotFound, match="s390x"):
        images.load(tar_stream(layout_files(layout)), name="x", platform="linux/s390x")


@needs("umoci", "skopeo")
def test_archives_of_other_tools_give_one_image(images, tmp_path, roots):
    layout = Layout()
    layout.tag("v1", layout.image({"a": b"a" * 5000}, {"b": b"b" * 5000}))
    source = f"oci:{layout.write(tmp_path / 'oci')}:v1"
    skopeo = ["skopeo", "--insecure-policy", "copy", "--quiet"]
    zstd = ["--dest-compress", "--dest-compress-format", "zstd"]
    for number, (target, options) in enumerate(
        [
            (f"docker-archive:{tmp_path}/0.tar:made/by:docker", []),
            (f"oci-archive:{tmp_path}/1.tar:made/by:oci", []),
            (f"oci:{tmp_path}/plain:v1", ["--dest-decompress"]),
            (f"oci:{tmp_path}/zstd:v1", zstd),
        ]
    ):
        subprocess.run([*skopeo, *options, source, target], check=True)
        if target.startswith("oci:"):
            folder = target.split(":")[1]
            subprocess.run(
                ["tar", "-C", folder, "-cf", f"{tmp_path}/{number}.tar", "."], check=True
            )
        with open(tmp_path / f"{number}.tar", "rb") as stream:
            images.load(stream, name=None if number < 2 else f"made/by{number}")
    assert len({entry["Id"] for entry in images.list()}) == 1
    assert images.exists("made/by:docker")
    assert sum(path.startswith("layers/") for path in residue(roots)) == 2


# Layers that need the layers below them


def test_hard_link_into_the_layer_below_and_parents_that_are_not_listed(images):
    lower, upper = needy_layers()
    images.load(tar_stream(docker_files(lower, upper)))
    image = images.lookup("app:1")
    assert image.layers[0] == hex_of(digest_of(lower))
    assert image.layers[1] != hex_of(digest_of(upper))
    top = images.layer_paths(image.layers)[1]
    assert read_layers(images, "app:1")["d/other"] == b"shared"
    assert (os.stat(f"{top}/d").st_mode & 0o7777, os.stat(f"{top}/d").st_uid) == (0o2750, 7)


def test_such_a_layer_on_other_lowers_is_another_layer(images):
    lower, upper = needy_layers()
    other = archive(directory("d", mode=0o700), member("d/target", b"other"))
    images.load(tar_stream(docker_files(lower, upper)))
    images.load(tar_stream(docker_files(other, upper, tags=("app:2",))))
    assert read_layers(images, "app:2")["d/other"] == b"other"
    assert read_layers(images, "app:1")["d/other"] == b"shared"


def test_unlisted_parents_of_the_bottom_layer(images):
    bottom = archive(member("deep/er/file", b"x"))
    images.load(tar_stream(docker_files(bottom)))
    upper = archive(directory("deep", mode=0o700), directory("deep/er", mode=0o711))
    images.load(tar_stream(docker_files(upper, bottom, tags=("app:2",))))
    top = images.layer_paths(images.lookup("app:2").layers)[1]
    assert os.stat(f"{top}/deep/er").st_mode & 0o7777 == 0o711
    assert images.lookup("app:1").layers[0] != images.lookup("app:2").layers[1]


# import


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.compress, bz2.compress, lzma.compress]
)
def test_import_of_any_compression(images, pack):
    image_id = images.import_rootfs(
        io.BytesIO(pack(ONE)), "made/here", changes=['CMD ["x"]', "ENV A=1"], message="why"
    )
    shown = images.inspect("made/here:latest")
    assert shown["Id"] == image_id
    assert shown["RootFS"]["Layers"] == [digest_of(ONE)]
    assert (shown["Config"]["Cmd"], shown["Config"]["Env"]) == (["x"], ["A=1"])
    assert shown["Comment"] == "why"
    assert read_layers(images, image_id) == {"one": b"1" * 3000}


@pytest.mark.parametrize(
    ("data", "name", "changes"),
    [
        (b"", None, []),
        (b"no tar" * 500, None, []),
        (gzip.compress(ONE, mtime=0)[:-4], None, []),
        (archive(member("../x", b"")), None, []),
        (ONE, "UPPER", []),
        (ONE, "app@sha256:" + "a" * 64, []),
        (ONE, "app", ["FROM scratch"]),
    ],
)
def test_refused_imports_leave_nothing_behind(images, roots, data, name, changes):
    with pytest.raises((Corrupt, InvalidParameter)):
        images.import_rootfs(io.BytesIO(data), name, changes=changes)
    assert residue(roots) == set()
    assert images.list() == []


def test_import_of_a_tree_without_its_directories(images):
    image_id = images.import_rootfs(io.BytesIO(tar_of({"a/b/c": b"x"})))
    assert read_layers(images, image_id) == {"a/b/c": b"x"}


@needs("busybox")
def test_default_image_is_the_same_every_time(images, tmp_path):
    first = images.ensure_default()
    assert images.ensure_default() == first
    images.remove("runengine/busybox")
    assert images.ensure_default() == first
    root = images.layer_paths(images.lookup("runengine/busybox").layers)[0]
    assert os.stat(f"{root}/tmp").st_mode & 0o7777 == 0o1777
    assert os.readlink(f"{root}/bin/ls") == "/bin/busybox"
    assert os.access(f"{root}/bin/busybox", os.X_OK)
