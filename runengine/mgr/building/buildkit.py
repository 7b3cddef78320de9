"""BuildKit as the builder, by ``docker-buildx`` or ``buildctl``; its daemon is the user's own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from runengine.errors import EngineError, Unsupported
from runengine.mgr.building import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.building.request import BuildRequest, Prepared

    Export = Callable[[str, str], None]
    Say = Callable[[bytes], None]

BUILDX, BUILDCTL = "docker-buildx", "buildctl"


def build(path: str, build: Prepared, export: Export, say: Say) -> str:
    """Build; returns an archive with the image. Raises EngineError, Unavailable."""
    target = f"{build.directory}/image.tar"
    layouts = _layouts(build, export)
    name = os.path.basename(path)
    words = (_buildctl if name == BUILDCTL else _buildx)(build, layouts, target)
    program.run(name, [path, *words], {}, quiet=build.request.quiet, say=say)
    return target


def _layouts(build: Prepared, export: Export) -> dict[str, tuple[str, str]]:
    """Base images as OCI layouts on disk: by name, the directory and the manifest's digest."""
    found = {}
    for number, base in enumerate(build.bases):
        archive, directory = f"{build.directory}/base.tar", f"{build.directory}/base-{number}"
        export(base.full, archive)
        os.mkdir(directory)
        done = subprocess.run(["tar", "-xf", archive, "-C", directory], check=False)
        if done.returncode:
            raise EngineError(f"cannot unpack base image {base.name} to {directory}")
        os.unlink(archive)
        found[base.name] = directory, _digest(directory)
    return found


def _digest(directory: str) -> str:
    import json

    with open(f"{directory}/index.json", "rb") as file:
        digest: str = json.load(file)["manifests"][0]["digest"]
    return digest


def _buildx(build: Prepared, layouts: dict[str, tuple[str, str]], target: str) -> list[str]:
    request = build.request
    words = ["build", "--progress", "plain", "--provenance=false"]
    words += ["--output", f"type=oci,dest={target}"]
    words += ["--no-cache"] if request.no_cache else []
    words += ["--file", build.dockerfile] if build.dockerfile else []
    for name, (directory, digest) in layouts.items():
        words += ["--build-context", f"{name}=oci-layout://{directory}@{digest}"]
    for flag, values in (
        ("--build-arg", request.build_args),
        ("--label", request.labels),
        ("--secret", request.secrets),
        ("--add-host", request.add_hosts),
        ("--ulimit", request.ulimits),
        ("--ssh", request.ssh),
        ("--build-context", request.contexts),
        ("--shm-size", [request.shm_size]),
        ("--target", [request.target]),
        ("--platform", [request.platform]),
        ("--network", [request.network]),
    ):
        words += [word for value in values if value for word in (flag, value)]
    return [*words, build.context]


def _buildctl(build: Prepared, layouts: dict[str, tuple[str, str]], target: str) -> list[str]:
    request = build.request
    if request.contexts:
        raise Unsupported(
            "--build-context is not for the builder buildctl",
            resolution="install docker-buildx or buildah, and say --builder",
        )
    words = ["build", "--progress", "plain", "--frontend", "dockerfile.v0"]
    words += ["--output", f"type=oci,dest={target}"]
    words += ["--no-cache"] if request.no_cache else []
    if build.dockerfile:
        folder, _, file = build.dockerfile.rpartition("/")
        words += ["--local", f"context={build.context}", "--local", f"dockerfile={folder}"]
        words += ["--opt", f"filename={file}"]
    else:
        words += ["--opt", f"context={build.context}"]
    for number, (name, (directory, digest)) in enumerate(layouts.items()):
        store = f"base{number}"
        words += ["--oci-layout", f"{store}={directory}"]
        words += ["--opt", f"context:{name}=oci-layout://{store}@{digest}"]
    options = [
        *(f"build-arg:{arg}" for arg in request.build_args),
        *(f"label:{label}" for label in request.labels),
        *([f"add-hosts={_add_hosts(request)}"] if request.add_hosts else []),
        *(f"ulimit={limit}" for limit in request.ulimits),
        *([f"shm-size={request.shm_size}"] if request.shm_size else []),
        *([f"target={request.target}"] if request.target else []),
        *([f"platform={request.platform}"] if request.platform else []),
        *([f"force-network-mode={request.network}"] if request.network else []),
    ]
    words += [word for option in options for word in ("--opt", option)]
    for flag, values in (("--secret", request.secrets), ("--ssh", request.ssh)):
        words += [word for value in values for word in (flag, value)]
    return words


def _add_hosts(request: BuildRequest) -> str:
    """``NAME=ADDRESS,NAME=ADDRESS``: an address has colons of its own."""
    return ",".join(line.replace(":", "=", 1) for line in request.add_hosts)
