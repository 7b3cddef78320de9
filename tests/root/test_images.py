"""load, import, rmi and the sweep on real layer and blob stores (rows N-11..N-16, N-25)."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import time
import tracemalloc

import pytest
import zstandard

from runengine.errors import (
    Conflict,
    Corrupt,
    EngineError,
    InvalidParameter,
    NotFound,
    Unsupported,
)
from runengine.ids import hex_of
from runengine.mgr.image import garbage, workers
from runengine.model import container_config, host_config
from runengine.oci_spec import media_types
from runengine.store.containers import Record, created_state
from tests.support import needs
from tests.support.images import (
    Lines,
    docker_files,
    image_config,
    image_mgr,
    layout_files,
    read_layers,
    residue,
    tar_stream,
)
from tests.support.layouts import Layout, digest_of, tar_of
from tests.support.tars import archive, directory, link, member, symlink

pytestmark = pytest.mark.root

ONE = tar_of({"one": b"1" * 3000})
TWO = tar_of({"two": b"2" * 3000})


@pytest.fixture
def images(roots):
    with image_mgr(roots) as manager:
        yield manager


def add_container(images, image_id, status="exited", name="box"):
    image = images.lookup(image_id)
    record = Record(
        "c" * 64, name, image.image_id, "2026-01-01T00:00:00Z", container_config(), host_config(),
        {}, image.layers, {**created_state(), "Status": status},
    )  # fmt: skip
    images._context.store.containers.add(record)
    return record.id


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


def needy_layers():
    lower = archive(directory("d", mode=0o2750, uid=7), member("d/target", b"shared"))
    upper = archive(link("d/other", "d/target"), member("d/new", b"n"))
    return lower, upper


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


# Refused


def changed(files, name, data):
    return {**files, name: data}


def wrong_layout(**changes):
    """A layout whose manifest lies about the layer."""
    layout = Layout()
    descriptor = layout.image({"a": b"a" * 2000})
    manifest = json.loads(layout.blobs.pop(descriptor["digest"]))
    manifest["layers"][0] |= changes
    layout.tag("v1", layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST))
    return layout_files(layout)


def damaged_layout(pick):
    """A layout with a byte changed in the blob whose index is ``pick``."""
    layout = Layout()
    layout.tag("v1", layout.image({"a": os.urandom(5000)}))
    digest = list(layout.blobs)[pick]
    data = bytearray(layout.blobs[digest])
    data[len(data) // 2] ^= 0xFF
    layout.blobs[digest] = bytes(data)
    return layout_files(layout)


MANIFEST_ENTRY = {"Config": "config.json", "Layers": ["layer0/layer.tar"]}
BAD = {
    "empty archive": dict,
    "no manifest": lambda: {"x.json": b"{}"},
    "manifest is no list": lambda: changed(docker_files(ONE), "manifest.json", b"{}"),
    "manifest is empty": lambda: changed(docker_files(ONE), "manifest.json", b"[]"),
    "manifest of numbers": lambda: changed(docker_files(ONE), "manifest.json", b"[1]"),
    "manifest of wrong types": lambda: docker_files(ONE, Config=["x"]),
    "manifest cut short": lambda: changed(docker_files(ONE), "manifest.json", b'[{"Config": "'),
    "deep manifest": lambda: changed(docker_files(ONE), "manifest.json", b"[" * 100_000),
    "no config": lambda: docker_files(ONE, Config="nope.json"),
    "config is a layer": lambda: docker_files(ONE, Config="layer0/layer.tar"),
    "no layer": lambda: docker_files(ONE, Layers=["nope/layer.tar"]),
    "too few layers": lambda: docker_files(ONE, TWO, Layers=["layer0/layer.tar"]),
    "layers swapped": lambda: docker_files(
        ONE, TWO, Layers=["layer1/layer.tar", "layer0/layer.tar"]
    ),
    "bad name": lambda: docker_files(ONE, RepoTags=["../../etc"]),
    "bad diff id": lambda: changed(
        docker_files(ONE), "config.json", image_config(ONE).replace(b"sha256:", b"sha1:")
    ),
    "layer is no tar": lambda: docker_files(b"x" * 5000),
    "layer of spaces": lambda: docker_files(b" " * 3_000_000),
    "layer leaves its directory": lambda: docker_files(archive(member("../../escaped", b"x"))),
    "layer with a damaged gzip": lambda: docker_files(gzip.compress(ONE)[:-9] + b"123456789"),
    "layer with a cut gzip": lambda: docker_files(gzip.compress(os.urandom(9000))[:-20]),
    "layer through a link": lambda: docker_files(
        archive(symlink("way", "/"), member("way/escaped", b"x"), member("way/../../x", b""))
    ),
    "second image is bad": lambda: changed(
        docker_files(ONE),
        "manifest.json",
        json.dumps([MANIFEST_ENTRY, {**MANIFEST_ENTRY, "Config": "nope.json"}]).encode(),
    ),
    "before 2016": lambda: {"repositories": b'{"app": {"1": "id"}}', "id/json": b"{}"},
    "negative size": lambda: wrong_layout(size=-1),
    "wrong size": lambda: wrong_layout(size=17),
    "wrong digest": lambda: wrong_layout(digest="sha256:" + "0" * 64),
    "digest that is a path": lambda: wrong_layout(digest="sha256:../../../../etc/passwd"),
    "damaged config": lambda: damaged_layout(0),
    "damaged layer": lambda: damaged_layout(1),
    "damaged manifest": lambda: damaged_layout(2),
    "index without images": lambda: layout_files(Layout()),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_loads_leave_nothing_behind(images, roots, tmp_path, case):
    with pytest.raises((Corrupt, InvalidParameter, Unsupported)) as caught:
        images.load(tar_stream(BAD[case]()))
    assert "\n" not in str(caught.value)
    assert residue(roots) == set()
    assert images.list() == []
    assert {path.name for path in tmp_path.iterdir()} == {"root", "state"}


def test_an_archive_cut_anywhere_is_refused(images, roots):
    whole = tar_stream(docker_files(ONE, gzip.compress(TWO))).getvalue()
    needed = whole.rindex(b"]}]") // 512 * 512
    for length in [0, 1, 511, 512, 700, *range(1024, needed, 700)]:
        with pytest.raises(Corrupt):
            images.load(io.BytesIO(whole[:length]))
        assert residue(roots) == set(), length


def test_a_refused_load_spares_what_was_there(images, roots):
    images.load(tar_stream(docker_files(ONE)))
    before = residue(roots)
    with pytest.raises(Corrupt):
        images.load(tar_stream(docker_files(ONE, TWO, Config="nope.json")))
    assert residue(roots) == before
    assert read_layers(images, "app:1") == {"one": b"1" * 3000}


class Padded:
    """A huge member made as it is read."""

    def __init__(self, name, size, head=b"", tail=b""):
        self.parts = [*archive_head(name, size + len(head) + len(tail)), head]
        self.left, self.tail = size, tail

    def read(self, count):
        while self.parts:
            if part := self.parts.pop(0):
                return part
        if self.left:
            count = min(count, self.left)
            self.left -= count
            return b" " * count
        tail, self.tail = self.tail, b""
        return tail


def archive_head(name, size):
    info = member(name)[0]
    info.size = size
    return [info.tobuf()]


@pytest.mark.parametrize("head", [b"", b"["])
def test_padded_json_costs_no_memory(images, roots, monkeypatch, head):
    monkeypatch.setattr(workers, "may_fork", lambda: False)
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            images.load(Padded("manifest.json", 300 << 20, head))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert residue(roots) == set()


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
        (gzip.compress(ONE)[:-4], None, []),
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


# rmi and the sweep


def test_rmi_removes_what_no_other_image_has(images, roots):  # N-12
    images.load(tar_stream(docker_files(ONE, TWO, tags=("a:1",))))
    images.load(tar_stream(docker_files(ONE, tags=("b:1",))))
    image_id = images.lookup("a:1").image_id
    removed = images.remove("a:1")
    assert removed[:2] == [{"Untagged": "a:1"}, {"Deleted": image_id}]
    assert len(removed) == 3
    assert read_layers(images, "b:1") == {"one": b"1" * 3000}
    images.remove("b:1")
    assert residue(roots) == set()


def test_same_layer_under_another_compression_keeps_its_blob(images, roots):
    files = docker_files(gzip.compress(ONE))
    files["config.json"] = image_config(ONE)
    images.load(tar_stream(files))
    blob = images._context.layers.info(hex_of(digest_of(ONE))).blob
    images.load(tar_stream(docker_files(ONE, tags=("b:1",), Config="c.json") | {
        "c.json": image_config(ONE, created="2020-01-01T00:00:00Z")}))  # fmt: skip
    images.remove("app:1")
    assert f"blobs/sha256/{hex_of(blob)}" in residue(roots)
    images.remove("b:1")
    assert residue(roots) == set()


def test_rmi_of_an_image_in_use(images, roots):  # N-14
    images.load(tar_stream(docker_files(ONE)))
    image_id = images.lookup("app:1").image_id
    container = add_container(images, "app:1")
    with pytest.raises(Conflict, match=r"must force.*cccccccccccc \(box\).*" + image_id[7:19]):
        images.remove("app:1")
    with pytest.raises(Conflict, match="must be forced"):
        images.remove(image_id)
    removed = images.remove("app:1", force=True)
    assert removed == [{"Untagged": "app:1"}, {"Deleted": image_id}]
    assert not images.exists(image_id)
    keys = [hex_of(digest_of(ONE))]
    assert os.listdir(images.layer_paths(keys)[0]) == ["one"]
    images._context.store.containers.remove(container)
    assert images.collect_garbage().layers == keys
    assert residue(roots) == set()


def test_rmi_while_the_container_runs_only_takes_the_names(images):  # N-14
    images.load(tar_stream(docker_files(ONE)))
    image_id = images.lookup("app:1").image_id
    add_container(images, "app:1", status="running")
    assert images.remove("app:1", force=True) == [{"Untagged": "app:1"}]
    assert images.inspect(image_id)["RepoTags"] == []
    with pytest.raises(Conflict, match="cannot be forced"):
        images.remove(image_id, force=True)
    assert images.layer_paths(images.lookup(image_id).layers)


def test_second_name_goes_although_a_container_uses_the_image(images):  # N-11, N-14
    images.load(tar_stream(docker_files(ONE)))
    images.tag("app:1", "other:1")
    add_container(images, "app:1")
    assert images.remove("app:1") == [{"Untagged": "app:1"}]
    assert images.exists("other:1")


def test_rmi_by_id(images):  # N-13
    images.load(tar_stream(docker_files(ONE, tags=("a:1", "a:2", "b:1"))))
    image_id = images.lookup("a:1").image_id
    with pytest.raises(Conflict, match="must force"):
        images.remove(image_id[:19])
    images.remove("b:1")
    removed = images.remove(image_id[7:15])
    assert removed[:3] == [{"Untagged": "a:1"}, {"Untagged": "a:2"}, {"Deleted": image_id}]


def test_nothing_is_swept_while_somebody_brings_an_image(images, roots):
    images.load(tar_stream(docker_files(ONE)))
    before = residue(roots)
    with garbage.in_use(roots):
        assert images.remove("app:1")[-1]["Deleted"].startswith("sha256:")
        assert images.collect_garbage(everything=True) is None
        assert residue(roots) == before
        assert garbage.is_pending(roots)
    assert images.collect_garbage().freed_bytes > 0
    assert residue(roots) == set()
    assert not garbage.is_pending(roots)


def test_sweep_spares_what_a_broken_pull_left_lately(images, roots):
    images._context.content.put(b"left by a pull")
    assert images.collect_garbage().blobs == []
    assert len(images.collect_garbage(everything=True).blobs) == 1
    assert residue(roots) == set()


def test_layer_that_vanished_is_unpacked_again(images, roots):  # N-26
    lower, upper = needy_layers()
    images.load(tar_stream(docker_files(lower, upper)))
    keys = images.lookup("app:1").layers
    for key in keys:
        images._context.layers.remove(key)
    assert [os.path.isdir(path) for path in images.layer_paths(keys)] == [True, True]
    assert read_layers(images, "app:1")["d/other"] == b"shared"
    for key in keys:
        images._context.layers.remove(key)
    images._context.content.remove(digest_of(lower))
    with pytest.raises(NotFound, match=keys[0][:12]):
        images.layer_paths(keys)


def test_errors_of_the_disk_are_one_line(images, roots):
    os.makedirs(roots.blobs)
    os.rmdir(roots.blobs)
    with open(roots.blobs, "w"), pytest.raises(EngineError) as caught:
        images.load(tar_stream(docker_files(ONE)))
    assert "\n" not in str(caught.value)
    assert roots.root in str(caught.value)
    os.unlink(roots.blobs)
