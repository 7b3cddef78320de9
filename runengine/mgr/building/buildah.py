"""Buildah as the builder, in a storage of the engine's own: the base images go in, the image out.

The format is Docker's, since the image-spec's configuration has no place for health checks, and
the result comes out as a directory, which is loaded without being packed first. Intermediate
layers stay in the storage, as the cache of the next build.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.mgr.building import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.building.request import Prepared

    Export = Callable[[str, str], None]
    """Writes the image of that name to a file, as an OCI archive."""
    Say = Callable[[bytes], None]

NAME = "buildah"
_REGISTRIES = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n'
"""A bare name means Docker Hub's, as everywhere in the engine."""
_NO_SHM = (
    b"WARNING: --shm-size does nothing under the isolation chroot, which has the host's /dev/shm "
    b"(BUILDAH_ISOLATION=oci has its own)\n"
)


def build(path: str, storage: str, build: Prepared, export: Export, say: Say) -> str:
    """Build; returns a directory with the image. Raises EngineError, Unavailable."""
    command = _command(path, storage)
    environment = _environment(build)
    if build.request.shm_size and environment["BUILDAH_ISOLATION"] == "chroot":
        say(_NO_SHM)
    for number, base in enumerate(build.bases):
        archive = f"{build.directory}/base-{number}.tar"
        export(base.full, archive)
        argv = [*command, "pull", "-q", f"oci-archive:{archive}"]
        pulled = program.output(NAME, argv, environment)
        program.output(NAME, [*command, "tag", pulled.split()[-1], base.full], environment)
        os.unlink(archive)
    note = f"{build.directory}/id"
    argv = [*command, *_arguments(build, note)]
    program.run(NAME, argv, environment, quiet=build.request.quiet, say=say)
    with open(note, encoding="ascii") as file:
        built = file.read().strip()
    target = f"{build.directory}/image"
    program.output(NAME, [*command, "push", "-q", built, f"dir:{target}"], environment)
    return target


def _command(path: str, storage: str) -> list[str]:
    """In a mount namespace of its own: a build that fails or is killed leaves mounts behind."""
    return [
        *("unshare", "--mount", "--propagation", "private", "--"),
        *(path, "--root", f"{storage}/root", "--runroot", f"{storage}/run"),
        *("--storage-driver", "overlay"),
    ]


def _environment(build: Prepared) -> dict[str, str]:
    registries = f"{build.directory}/registries.conf"
    with open(registries, "w", encoding="ascii") as file:
        file.write(_REGISTRIES)
    return {
        "CONTAINERS_REGISTRIES_CONF": registries,
        "BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot"),
        "TMPDIR": build.directory,
    }


def _arguments(build: Prepared, note: str) -> list[str]:
    request = build.request
    words = ["build", "--format", "docker", "--layers", "--force-rm", "--iidfile", note]
    # The engine has pulled what it could; then only what is missing is the builder's to pull.
    words += ["--pull=false"]
    words += ["--no-cache"] if request.no_cache else []
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
        ("--file", [build.dockerfile]),
    ):
        words += [word for value in values if value for word in (flag, value)]
    return [*words, build.context]
