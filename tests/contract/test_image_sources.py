"""One image, by whichever road it comes: the same id, layers, files and settings.

The roads are a registry in both manifest formats, ``load`` of both archive formats, and every
compression; each keeps the same promises to whoever uses the image then.
"""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from runengine import Engine
from tests.support.layouts import Layout
from tests.support.registry import Registry
from tests.support.treecmp import manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("overlay", "skopeo", "docker-registry"),
]
NAME = "contract/image"
SETTINGS = {
    "Cmd": ["/one", "two words"],
    "Env": ["A=1"],
    "Labels": {"k": "v"},
    "StopSignal": "SIGUSR1",
    "Volumes": {"/data": {}},
    "WorkingDir": "/work",
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as an OCI layout: two layers, the second takes something away."""
    written = Layout()
    layers = ({"one": b"1" * 9000, "gone": b"g"}, {"two": b"2", ".wh.gone": b""})
    written.tag("v1", written.image(*layers, config=SETTINGS))
    return written.write(tmp_path_factory.mktemp("contract") / "layout")


def copy(source: Path, target: str, *options: str) -> None:
    """``skopeo copy`` from the layout."""
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", *options]
    subprocess.run([*command, f"oci:{source}:v1", target], check=True)


def by_registry(*, docker: bool) -> Callable[[Engine, Path, Path], str]:
    """Pull it from a docker-registry."""

    def bring(engine: Engine, layout: Path, scratch: Path) -> str:
        with Registry(scratch / "registry") as registry:
            name = registry.push_oci(layout, f"{NAME}:v1", tag="v1", docker=docker)
            return engine.images.pull(name).image_id

    return bring


def by_archive(kind: str) -> Callable[[Engine, Path, Path], str]:
    """Load an archive that another tool made."""

    def bring(engine: Engine, layout: Path, scratch: Path) -> str:
        copy(layout, f"{kind}:{scratch}/image.tar:{NAME}:v1")
        with (scratch / "image.tar").open("rb") as stream:
            (name,) = engine.images.load(stream)
        return engine.images.lookup(name).image_id

    return bring


def by_layout(*options: str) -> Callable[[Engine, Path, Path], str]:
    """Load a tar of a layout whose layers are compressed in another way."""

    def bring(engine: Engine, layout: Path, scratch: Path) -> str:
        copy(layout, f"oci:{scratch}/again:v1", *options)
        command = ["tar", "-C", f"{scratch}/again", "-cf", f"{scratch}/image.tar", "."]
        subprocess.run(command, check=True)
        with (scratch / "image.tar").open("rb") as stream:
            (name,) = engine.images.load(stream, name=NAME)
        return engine.images.lookup(name).image_id

    return bring


ROADS = {
    "pull OCI": by_registry(docker=False),
    "pull Docker": by_registry(docker=True),
    "load docker-archive": by_archive("docker-archive"),
    "load oci-archive": by_archive("oci-archive"),
    "load plain layers": by_layout("--dest-decompress"),
    "load zstd layers": by_layout("--dest-compress", "--dest-compress-format", "zstd"),
}


@pytest.fixture(scope="module")
def expected(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the plain road makes of it; the others are held against this."""
    from runengine.paths import Paths

    base = tmp_path_factory.mktemp("expected")
    with Engine.open(Paths(f"{base}/root", f"{base}/state")) as engine:
        return outcome(engine, by_layout()(engine, layout, base))


def outcome(engine: Engine, image_id: str) -> dict[str, object]:
    """Everything about an image that must not depend on how it came."""
    stored = engine.images.lookup(image_id)
    document = engine.images.inspect(image_id)
    paths = engine.images.layer_paths(stored.layers)
    return {
        "layers": stored.layers,
        "trees": [_tree(path) for path in paths],
        "settings": {key: document["Config"][key] for key in SETTINGS},
        "diff_ids": document["RootFS"]["Layers"],
    }


def _tree(path: str) -> dict[bytes, object]:
    """The layer's files, without the times of what no archive has: its top and its whiteouts."""
    return {
        name: entry._replace(mtime_ns=0) if not name or stat.S_ISCHR(entry.kind) else entry
        for name, entry in manifest(path, overlay=True).items()
    }


@pytest.mark.parametrize("road", ROADS)
def test_every_road_brings_the_same_image(roots, tmp_path, layout, expected, road):
    # N-06, N-08, N-16
    with Engine.open(roots) as engine:
        image_id = ROADS[road](engine, layout, tmp_path)
        assert outcome(engine, image_id) == expected
        assert expected["settings"] == SETTINGS
        assert len(engine.images.list()) == 1


@pytest.mark.parametrize("road", ROADS)
def test_what_came_can_be_removed_without_a_trace(roots, tmp_path, layout, road):
    # N-12
    with Engine.open(roots) as engine:
        image_id = ROADS[road](engine, layout, tmp_path)
        engine.images.remove(image_id)
        assert engine.images.list() == []
        left = [str(path) for path in (tmp_path / "root/blobs").rglob("*") if path.is_file()]
        assert left == []
        assert not list((tmp_path / "root/layers").glob("*/diff"))
