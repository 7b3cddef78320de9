"""pull: from Debian's docker-registry, and from one that misbehaves (rows N-08, N-25)."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import zstandard

from runengine.errors import Corrupt, EngineError, NotFound, Unauthorized, Unavailable, Unsupported
from runengine.ids import DiffID, Digest, hex_of
from runengine.linux import libc
from runengine.mgr.image import arrival, pull
from runengine.oci_spec import media_types
from runengine.registry import client
from runengine.registry.client import RegistryClient
from runengine.registry.credentials import Credentials
from tests.support import needs
from tests.support.fake_registry import FakeRegistry, Fault
from tests.support.images import Lines, image_mgr, read_layers, residue
from tests.support.layouts import Layout, digest_of, tar_of
from tests.support.pulling import finished, members, start
from tests.support.registry import Registry, TokenServer
from tests.support.tars import archive, directory, link, member
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("docker-registry", "skopeo")]

BASE, TOP = {"base": b"b" * 100_000}, {"top": b"t" * 50_000}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def fake():
    with FakeRegistry() as running:
        yield running


def push(registry, tmp_path, name, layout, tag="x", **options):
    folder = tmp_path / f"layout{len(list(tmp_path.iterdir()))}"
    return registry.push_oci(layout.write(folder), name, tag=tag, **options)


def simple(*layers, **options):
    layout = Layout()
    layout.tag("x", layout.image(*(layers or (BASE, TOP)), **options))
    return layout


def serve(fake, layout, name="app:1"):
    """Let the misbehaving registry have the layout's image; returns its full name."""
    fake.blobs.update(layout.blobs)
    fake.tag(name.partition(":")[2], layout.tagged[0])
    return f"{fake.host}/{name}"


def blobs_asked(fake):
    return [asked.path.rpartition("/")[2] for asked in fake.asked if "/blobs/" in asked.path]


def layer_digests(layout):
    manifest = json.loads(layout.blobs[layout.tagged[0]["digest"]])
    return [layer["digest"] for layer in manifest["layers"]]


# From a real registry


@pytest.mark.parametrize("docker", [False, True])
def test_pull_by_tag(registry, images, tmp_path, docker):  # N-08
    layout = simple(config={"Cmd": ["x"]})
    name = push(registry, tmp_path, f"team/tag{docker:d}:1", layout, docker=docker)
    progress = Lines()
    result = images.pull(name, progress=progress)
    assert (result.reference, result.up_to_date) == (name, False)
    assert progress.lines[0] == f"1: Pulling from team/tag{docker:d}"
    assert progress.lines[1:] == [
        f"Digest: {result.digest}",
        f"Status: Downloaded newer image for {name}",
    ]
    assert progress.statuses() >= {"Pulling fs layer", "Download complete", "Pull complete"}
    shown = images.inspect(name)
    assert shown["Id"] == result.image_id
    assert shown["RepoDigests"] == [f"{name.rpartition(':')[0]}@{result.digest}"]
    assert read_layers(images, name) == BASE | TOP
    again = Lines()
    assert images.pull(name, progress=again).up_to_date
    assert again.lines[-1] == f"Status: Image is up to date for {name}"
    assert again.statuses() == {"Already exists"}


def test_layers_that_are_here_are_not_downloaded_again(registry, images, tmp_path):
    first = push(registry, tmp_path, "team/share:1", simple(BASE))
    images.pull(first)
    progress = Lines()
    images.pull(push(registry, tmp_path, "team/share:2", simple(BASE, TOP)), progress=progress)
    by_status = {status: key for key, status, _, _ in progress.layers}
    assert by_status["Already exists"] != by_status["Pull complete"]


def packed(tars, pack, suffix):
    """An image of these layers, compressed as asked."""
    layout = Layout()
    rootfs = {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": layout.add(json.dumps(config).encode(), media_types.OCI_CONFIG),
        "layers": [layout.add(pack(tar), media_types.OCI_LAYER + suffix) for tar in tars],
    }
    layout.tag("x", layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST))
    return layout


@pytest.mark.parametrize(
    ("pack", "suffix"), [(zstandard.compress, "+zstd"), (bytes, ""), (gzip.compress, "+gzip")]
)
def test_compressions(fake, images, pack, suffix):
    images.pull(serve(fake, packed([tar_of(BASE), tar_of(TOP)], pack, suffix)))
    assert read_layers(images, f"{fake.host}/app:1") == BASE | TOP


def test_moved_tag_leaves_the_old_image_by_digest(registry, images, tmp_path):  # N-25
    name = push(registry, tmp_path, "team/moved:1", simple(BASE))
    old = images.pull(name)
    push(registry, tmp_path, "team/moved:1", simple(TOP))
    new = images.pull(name)
    assert images.lookup(name).image_id == new.image_id != old.image_id
    repository = name.rpartition(":")[0]
    left = images.inspect(f"{repository}@{old.digest}")
    assert (left["Id"], left["RepoTags"]) == (old.image_id, [])
    assert [entry["Id"] for entry in images.list({"dangling": ["true"]})] == [old.image_id]


def test_pull_by_digest_drops_the_tag(registry, images, tmp_path):  # N-08
    name = push(registry, tmp_path, "team/digest:1", simple())
    digest = images.pull(name).digest
    images.remove(name)
    repository = name.rpartition(":")[0]
    result = images.pull(f"{repository}:nosuchtag@{digest}")
    assert result.reference == f"{repository}@{digest}"
    shown = images.inspect(f"{repository}@{digest}")
    assert (shown["RepoTags"], shown["RepoDigests"]) == ([], [f"{repository}@{digest}"])
    removed = images.remove(f"{repository}@{digest}")
    assert {"Deleted": result.image_id} in removed


def test_platform_of_an_index(registry, images, tmp_path):
    layout = Layout()
    native = layout.image({"which": b"native"})
    other = layout.image({"which": b"other"}, platform="linux/s390x")
    layout.tag("x", layout.index(linux_amd64=native, linux_s390x=other))
    folder = layout.write(tmp_path / "multi")
    name = registry.push(f"oci:{folder}:x", "team/multi:1", everything=True)
    images.pull(name, platform="linux/amd64")
    assert read_layers(images, name) == {"which": b"native"}
    images.pull(name, platform="linux/s390x")
    assert read_layers(images, name) == {"which": b"other"}
    assert images.inspect(name)["Architecture"] == "s390x"
    with pytest.raises(NotFound, match="ppc64le"):
        images.pull(name, platform="linux/ppc64le")


def test_many_layers_and_some_that_need_others(fake, images, roots):
    tars = [archive(directory("d", mode=0o710), member("d/target", b"shared"))]
    tars += [tar_of({f"file{number}": b"%d" % number}) for number in range(120)]
    tars += [archive(link("d/other", "d/target")), archive(member("d/last", b"x"))]
    name = serve(fake, packed(tars, gzip.compress, "+gzip"))
    images.pull(name)
    keys = images.lookup(name).layers
    assert keys[:-2] == [hex_of(digest_of(tar)) for tar in tars[:-2]]
    assert set(keys[-2:]).isdisjoint({hex_of(digest_of(tar)) for tar in tars})
    found = read_layers(images, name)
    assert (found["d/other"], found["file119"]) == (b"shared", b"119")
    assert os.stat(f"{images.layer_paths(keys)[-1]}/d").st_mode & 0o777 == 0o710
    assert residue(roots) >= {f"layers/{key}" for key in keys}
    assert not any(path.startswith(("pulls", "layers/staging")) for path in residue(roots))


def test_too_many_layers(fake, images, roots):
    layout = Layout()
    name = serve(fake, simple(*[{"f": b""}] * (arrival.LAYERS_LIMIT + 1)))
    with pytest.raises(Unsupported, match="501 layers"):
        images.pull(name)
    assert layout.blobs == {}
    assert residue(roots) == set()


@pytest.mark.parametrize("name", ["team/nosuch:1", "team/tag0:nosuch"])
def test_what_is_not_there(registry, images, roots, name):  # N-08
    with pytest.raises(NotFound, match=name):
        images.pull(f"{registry.host}/{name}")
    assert residue(roots) == set()


def test_basic_auth(tmp_path, images, roots):  # N-08
    with Registry(tmp_path / "registry", users={"ann": "secret"}) as private:
        name = push(private, tmp_path, "team/app:1", simple())
        wrong = RegistryClient.given(private.host, Credentials("ann", "guess"))
        for credentials in (None, wrong):
            with pytest.raises(Unauthorized):
                images.pull(name, credentials=credentials)
        assert residue(roots) == set()
        right = RegistryClient.given(private.host, Credentials("ann", "secret"))
        images.pull(name, credentials=right)
    assert read_layers(images, name) == BASE | TOP


def test_token_auth(tmp_path, images):  # N-08
    with (
        TokenServer(tmp_path / "tokens", users={"ann": "secret"}) as tokens,
        Registry(tmp_path / "registry", tokens=tokens) as private,
    ):
        name = push(private, tmp_path, "team/app:1", simple())
        right = RegistryClient.given(private.host, Credentials("ann", "secret"))
        images.pull(name, credentials=right)
    assert read_layers(images, name) == BASE | TOP


def test_refused_connection(images, roots):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        images.pull("127.0.0.1:9/app:1")
    assert residue(roots) == set()


@needs("busybox")
def test_the_embedded_image_needs_no_registry(images):
    progress = Lines()
    result = images.pull("runengine/busybox", progress=progress)
    assert (result.reference, result.up_to_date) == ("docker.io/runengine/busybox:latest", False)
    assert images.ensure_default() == result.image_id
    assert images.pull("runengine/busybox:latest").up_to_date


# Damaged, wrong, broken off


def test_damaged_blob_in_a_real_registry(registry, images, roots, tmp_path):
    layout = simple({"random": os.urandom(200_000)})
    name = push(registry, tmp_path, "team/damaged:1", layout)
    path = registry.blob_path(layer_digests(layout)[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=layer_digests(layout)[0]):
        images.pull(name)
    assert residue(roots) == set()
    assert images.list() == []


def lying(key, value):
    """An image whose manifest or config says something wrong."""
    layout = simple(TOP)
    manifest = json.loads(layout.blobs.pop(layout.tagged.pop()["digest"]))
    if key == "diff_ids":
        config = json.loads(layout.blobs.pop(manifest["config"]["digest"]))
        config["rootfs"]["diff_ids"] = value
        manifest["config"] = layout.add(json.dumps(config).encode(), media_types.OCI_CONFIG)
    elif key.startswith("config."):
        manifest["config"][key[7:]] = value
    else:
        manifest["layers"][0][key] = value
    layout.tag("x", layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST))
    return layout


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("diff_ids", ["sha256:" + "1" * 64]),
        ("diff_ids", []),
        ("diff_ids", ["sha256:zz"]),
        ("size", -1),
        ("size", 1),
        ("size", 1 << 40),
        ("size", "12"),
        ("digest", "sha256:../../../etc/passwd"),
        ("digest", "md5:" + "1" * 32),
        ("config.size", -5),
        ("config.size", 1 << 40),
        ("config.digest", "sha256:"),
    ],
)
def test_lies_are_refused_and_leave_nothing(fake, images, roots, key, value):
    name = serve(fake, lying(key, value))
    with pytest.raises(Corrupt) as caught:
        images.pull(name)
    assert "\n" not in str(caught.value)
    assert residue(roots) == set()
    assert images.list() == []


@pytest.mark.parametrize(
    "layer",
    [
        b"no tar at all" * 100,
        gzip.compress(b"no tar in it" * 100, mtime=0),
        gzip.compress(tar_of(TOP), mtime=0)[:-8] + b"\0" * 8,
        gzip.compress(archive(member("../../escaped", b"x")), mtime=0),
    ],
)
def test_layers_that_cannot_be_unpacked(fake, images, roots, tmp_path, layer):
    layout = lying("mediaType", f"{media_types.OCI_LAYER}+gzip")
    manifest = json.loads(layout.blobs.pop(layout.tagged.pop()["digest"]))
    manifest["layers"] = [layout.add(layer, f"{media_types.OCI_LAYER}+gzip")]
    layout.tag("x", layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST))
    with pytest.raises(EngineError) as caught:
        images.pull(serve(fake, layout))
    assert "\n" not in str(caught.value)
    assert residue(roots) == set()
    assert {path.name for path in tmp_path.iterdir()} == {"root", "state"}


def test_a_lying_image_does_not_cost_another_image_its_blob(fake, images, roots):
    layout = simple(TOP)
    images.pull(serve(fake, layout))
    images._context.layers.remove(images.lookup(f"{fake.host}/app:1").layers[0])
    before = residue(roots)
    liar = lying("diff_ids", ["sha256:" + "1" * 64])
    assert layer_digests(liar) == layer_digests(layout)
    with pytest.raises(Corrupt):
        images.pull(serve(fake, liar, "app:2"))
    assert residue(roots) == before


def test_blob_that_the_disk_changed_is_downloaded_again(fake, images):
    name = serve(fake, simple())
    images.pull(name)
    image = images.lookup(name)
    for key in image.layers:
        digest = images._context.layers.info(key).blob
        images._context.layers.remove(key)
        path = images._context.content.path(digest)
        os.chmod(path, 0o600)
        Path(path).write_bytes(b"")
    images.pull(name)
    assert read_layers(images, name) == BASE | TOP


@pytest.mark.parametrize("layers", [(TOP,), (BASE, TOP)], ids=["here", "in workers"])
def test_a_mirror_with_wrong_layers_is_passed_over_and_told(fake, roots, layers):
    layout = simple(*layers)
    name = serve(fake, layout)
    with FakeRegistry() as mirror:
        mirror.tags, mirror.types = fake.tags, fake.types
        mirror.blobs = dict(fake.blobs)
        for digest in layer_digests(layout):
            mirror.blobs[digest] = bytes(len(fake.blobs[digest]))
        table = {fake.host: [f"http://{mirror.host}"]}
        with image_mgr(roots, mirrors=table) as images:
            lines = Lines()
            images.pull(name, progress=lines)
            assert read_layers(images, name) == {
                key: value for layer in layers for key, value in layer.items()
            }
    told = [line for line in lines.lines if line.startswith(f"WARNING: mirror {mirror.host}")]
    assert told
    assert all("wrong content" in line or "not" in line for line in told)


def test_mirrors_that_failed_are_told_even_if_nobody_has_it(fake, roots):
    with (
        FakeRegistry() as mirror,
        image_mgr(roots, mirrors={fake.host: [f"http://{mirror.host}"]}) as images,
    ):
        lines = Lines()
        with pytest.raises(NotFound, match=f"not found at {fake.host}"):
            images.pull(f"{fake.host}/app:1", progress=lines)
    assert any(line.startswith(f"WARNING: mirror {mirror.host}") for line in lines.lines)


def test_broken_transfer_goes_on_where_it_stopped(fake, images, monkeypatch):
    monkeypatch.setattr(arrival, "RETRY_DELAY_S", 0.01)
    layout = simple({"random": os.urandom(300_000)})
    name = serve(fake, layout)
    digest = layer_digests(layout)[0]
    fake.faults[digest] = Fault(cut_after=100_000, times=2)
    images.pull(name)
    ranges = [asked.range for asked in fake.asked if asked.path.endswith(digest)]
    assert ranges[0] == ""
    assert [int(text.strip("bytes=-")) for text in ranges[1:]] == [100_000, 200_000]


def test_given_up_pull_is_resumed_by_the_next(fake, images, roots, monkeypatch):
    monkeypatch.setattr(arrival, "RETRY_DELAY_S", 0.01)
    monkeypatch.setattr(client, "RETRY_PAUSES_S", ())
    layout = simple({"random": os.urandom(300_000)}, TOP)
    name = serve(fake, layout)
    digest = layer_digests(layout)[0]
    fake.faults[digest] = Fault(cut_after=100_000, times=1)
    fake.faults["blobs/" + digest] = Fault(status=503)
    with pytest.raises(Unavailable):
        images.pull(name)
    assert f"blobs/partial/{hex_of(digest)}" in residue(roots)
    fake.faults.clear()
    fake.asked.clear()
    images.pull(name)
    ranges = [asked.range for asked in fake.asked if asked.path.endswith(digest)]
    assert ranges == ["bytes=100000-"]
    assert not any("partial" in path for path in residue(roots))


def test_beginning_that_was_wrong_is_fetched_anew(fake, images):
    layout = simple({"random": os.urandom(300_000)})
    name = serve(fake, layout)
    digest = layer_digests(layout)[0]
    content = images._context.content
    content.ensure_directories()
    Path(content.partial_path(digest)).write_bytes(b"z" * 1000)
    images.pull(name)
    assert images.exists(name)


# Several processes


def test_two_pulls_at_once_share_the_work(fake, images, roots):
    layout = simple(*[{f"random{n}": os.urandom(2_000_000)} for n in range(4)])
    name = serve(fake, layout)
    processes = [start(roots, name) for _ in range(2)]
    assert [finished(process) for process in processes] == [(0, ""), (0, "")]
    asked = blobs_asked(fake)
    assert sorted(digest for digest in asked if digest in layer_digests(layout)) == sorted(
        layer_digests(layout)
    )
    assert len(read_layers(images, name)) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_pull_leaves_no_worker_and_can_be_resumed(fake, images, roots, number):
    layout = simple(*[{f"random{n}": os.urandom(1_000_000)} for n in range(3)])
    name = serve(fake, layout)
    stalled = layer_digests(layout)[1]
    fake.faults[stalled] = Fault(stall_after=client.CHUNK_BYTES + 1000, times=1)
    partial = Path(images._context.content.partial_path(stalled))
    process = start(roots, name)
    wait_for(lambda: partial.exists() and partial.stat().st_size == client.CHUNK_BYTES)
    process.send_signal(number)
    finished(process)
    assert process.returncode != 0
    wait_for(lambda: not members(process.pid))
    fake.release.set()
    staged = {path for path in residue(roots) if "staging" in path}
    assert bool(staged) == (number != signal.SIGINT)
    assert partial.stat().st_size == client.CHUNK_BYTES
    fake.asked.clear()
    images.pull(name)
    ranges = [asked.range for asked in fake.asked if asked.path.endswith(stalled)]
    assert ranges == [f"bytes={client.CHUNK_BYTES}-"]
    assert not {path for path in residue(roots) if "staging" in path or "partial/" in path}
    assert len(read_layers(images, name)) == 3


def test_full_disk_is_one_line_and_leaves_nothing(registry, tmp_path, roots):
    name = push(registry, tmp_path, "team/full:1", simple({"random": os.urandom(6 << 20)}, TOP))
    libc.mount("tmpfs", roots.root, "tmpfs", 0, "size=4m")
    try:
        with image_mgr(roots) as images, pytest.raises(EngineError) as caught:
            images.pull(name)
        assert "space" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert residue(roots) == set()
    finally:
        libc.umount(roots.root)


def test_progress_is_not_sent_for_every_chunk(monkeypatch):
    sent: list[dict[str, Any]] = []
    layer = arrival.Layer(0, Digest(digest_of(b"")), 10, DiffID(digest_of(b"")))
    report = pull._reporter(layer, sent.append)
    for done in range(1000):
        report("Downloading", done, 1000)
    report("Download complete", 1000, 1000)
    assert len(sent) < 100
    assert [message["layer"][1] for message in sent][-1] == "Download complete"
