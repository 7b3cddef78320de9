"""``--init``: a small init inside the container that forwards signals and reaps."""

from __future__ import annotations

from runengine.errors import Unavailable

# Where the init is bound in the container; the paths that Docker and Podman use.
PATH_IN_CONTAINER = "/sbin/docker-init"

# Names in order of preference: installed for this purpose, small, static.
PROGRAMS = ("docker-init", "tini-static", "catatonit", "tini")


def find_init(search_path: str | None = None) -> str:
    """Host path of an init program. Raises Unavailable with what to install."""
    import shutil

    folders = search_path or "/usr/local/libexec/runengine:/usr/libexec/docker:/usr/bin:/usr/sbin"
    for name in PROGRAMS:
        found = shutil.which(name, path=folders)
        if found:
            return found
    raise Unavailable(
        "--init: no init program on this host",
        resolution="install tini or catatonit (apt-get install catatonit)",
    )


def prefix(init_path: str | None) -> list[str]:
    """Arguments before the container's own command; none without an init."""
    return [PATH_IN_CONTAINER, "--"] if init_path else []
