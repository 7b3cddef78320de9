"""Images to measure with, made of the host's own files, and a registry that serves them.

Layers are written by ``tar`` and ``gzip`` as image builders do, and kept as an OCI layout, which
every benchmark of images may take for its own ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from runengine.netns import namespace
from scripts.bench.cpu import left_out
from scripts.bench.ending import daemon
from scripts.bench.harness import check_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scripts.bench.hosts import Host

SOURCE = Path("/usr")
PORT = 5000
REGISTRY = f"127.0.0.1:{PORT}"
START_S = 20
LARGE_FILE = 200 << 20
"""What is larger is left out: no image is one file."""
SMALL_FILES_PER_DIRECTORY = 100
SMALL_FILE = b"a small file of an image that has very many of them\n" * 20
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Packed(NamedTuple):
    """A layer: its compressed archive, and the digest of the plain one."""

    path: Path
    diff_id: str
    tar_bytes: int


class Image(NamedTuple):
    """An OCI layout with one image."""

    layout: Path
    layers: list[str]
    """Digests of the blobs, bottom first."""
    tar_bytes: int


def host_files(directory: Path, layers: int, layer_bytes: int) -> list[Path]:
    """Archives of about ``layer_bytes`` each, of files that the host has, always the same."""
    archives = []
    files = _files_of(SOURCE)
    for number in range(layers):
        names: dict[str, None] = {}
        size = 0
        for path, length in files:
            # As image builders do, with the directories that lead there.
            names.update(dict.fromkeys(map(str, reversed(path.parents[:-1]))))
            names[str(path)] = None
            size += length
            if size >= layer_bytes:
                break
        archives.append(_tar(directory / f"host-{number}.tar", names))
    return archives


def _files_of(top: Path) -> Iterator[tuple[Path, int]]:
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            seen = path.lstat()
            if seen.st_size <= LARGE_FILE:
                yield path, seen.st_size


def small_files(directory: Path, count: int) -> Path:
    """An archive of many small files."""
    root = directory / "small-files"
    for number in range(count):
        folder = root / f"directory-{number // SMALL_FILES_PER_DIRECTORY:05}"
        if not number % SMALL_FILES_PER_DIRECTORY:
            folder.mkdir(parents=True)
        (folder / f"file-{number:07}").write_bytes(SMALL_FILE)
    target = directory / "small-files.tar"
    check_run(["tar", "-C", str(root), "-cf", str(target), "."])
    shutil.rmtree(root)
    return target


def _tar(target: Path, names: Iterable[str]) -> Path:
    listed = "\0".join(name.lstrip("/") for name in names)
    argv = ["tar", "-C", "/", "--null", "--no-recursion", "-T", "-", "-cf", str(target)]
    check_run(argv, input=listed)
    return target


def image(directory: Path, name: str, archives: Sequence[Path]) -> Image:
    """An image of these layers, which are compressed as ``gzip`` does it unasked."""
    layout = directory / f"{name}.oci"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        packed = list(pool.map(_pack, archives))
    layers = [_take(blobs, one.path, LAYER_TYPE) for one in packed]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in packed]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _put(blobs, config, CONFIG_TYPE),
        "layers": layers,
    }
    index = {"schemaVersion": 2, "manifests": [_put(blobs, manifest, MANIFEST_TYPE)]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    size = sum(one.tar_bytes for one in packed)
    return Image(layout, [str(layer["digest"]) for layer in layers], size)


def _pack(archive: Path) -> Packed:
    with archive.open("rb") as file:
        diff_id = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    target = archive.with_suffix(".tar.gz")
    with target.open("wb") as file:
        subprocess.run(["gzip", "-n", "-c", str(archive)], stdout=file, check=True)
    return Packed(target, diff_id, archive.stat().st_size)


def _take(blobs: Path, path: Path, media_type: str) -> dict[str, object]:
    """Move a file among the blobs; its descriptor."""
    with path.open("rb") as file:
        digits = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    path.rename(blobs / digits)
    return {"mediaType": media_type, "digest": f"sha256:{digits}", "size": size}


def _put(blobs: Path, document: object, media_type: str) -> dict[str, object]:
    data = json.dumps(document).encode()
    digits = hashlib.sha256(data).hexdigest()
    (blobs / digits).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digits}", "size": len(data)}


@contextmanager
def registry(storage: Path, where: Host) -> Iterator[None]:
    """A registry at ``REGISTRY`` of one host, whose work counts as nobody's.

    Several may serve one storage, each on its own host.
    """
    config = storage / f"registry-{where.inside}.json"  # JSON is YAML
    storage.mkdir(exist_ok=True)
    document = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage / "data")}},
        "http": {"addr": REGISTRY},
    }
    config.write_text(json.dumps(document))
    settings = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    log = config.with_suffix(".log")
    argv = ["docker-registry", "serve", str(config)]
    with ExitStack() as stack:
        with left_out():
            made = daemon(argv, log, where=where.inside, environment=settings)
            server = stack.enter_context(made)
        with namespace.entered(where.inside):
            _await_answer(server, log)
        yield


def _await_answer(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urlopen(f"http://{REGISTRY}/v2/", timeout=1):
                return
        except (URLError, OSError):
            if time.monotonic() > deadline or server.poll() is not None:
                raise TimeoutError(f"docker-registry does not start: {log.read_text()}") from None
            time.sleep(0.05)


def upload(source: Image, name: str, where: Host) -> str:
    """Put an image into the registry of a host; returns its reference."""
    target = f"{REGISTRY}/{name}"
    argv = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    with namespace.entered(where.inside):
        check_run([*argv, f"oci:{source.layout}", f"docker://{target}"])
    return target
