"""``--init``: a small init inside the container that forwards signals and reaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.oci_spec import namespaces

if TYPE_CHECKING:
    from runengine.model import HostConfig
    from runengine.oci_spec.facts import SpecFacts

# Where the init is bound in the container; the paths that Docker and Podman use.
PATH_IN_CONTAINER = "/sbin/docker-init"

# In order of preference. All are static: a dynamic one would look for its libraries in the image.
PROGRAMS = ("docker-init", "tini-static", "catatonit")
FOLDERS = "/usr/local/libexec/runengine:/usr/libexec/docker:/usr/local/bin:/usr/bin"


def find_init(folders: str = FOLDERS) -> str:
    """Host path of an init program. Raises Unavailable with what to install."""
    import shutil

    for name in PROGRAMS:
        found = shutil.which(name, path=folders)
        if found:
            return found
    raise Unavailable(
        "--init: no init program on this host",
        resolution="install one: apt-get install tini (or catatonit)",
    )


def is_used(facts: SpecFacts, host: HostConfig) -> bool:
    """Whether the init runs: where the command is not pid 1 anyway, it would reap nothing."""
    return facts.init_path is not None and host["PidMode"] in ("", namespaces.PRIVATE)


def prefix(facts: SpecFacts, host: HostConfig) -> list[str]:
    """Arguments before the container's own command; none without an init."""
    return [PATH_IN_CONTAINER, "--"] if is_used(facts, host) else []
