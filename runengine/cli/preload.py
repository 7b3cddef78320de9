"""What the launcher has in memory for the workers that it forks.

A module there costs its memory as long as the service runs, some of each fork, and nothing when a
call needs it. So it has what the common calls need, and not what needs a library of megabytes:
who pulls, pushes, loads or validates imports that, as without a service, and a worker that has
done so serves the next call as well (``launcher/rest.py``).
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

# Packages too, but for what others import of them.
_LEFT_OUT = {
    # Where programs begin: such a module runs when imported.
    "runengine.monitor.boot",
    "runengine.monitor.zygote_boot",
    "runengine.resolver.boot",
    # In processes of their own.
    "runengine.launcher.address",
    "runengine.launcher.answers",
    "runengine.launcher.exporter",
    "runengine.mgr.action_counts",
    "runengine.mgr.metrics",
    "runengine.resolver.answers",
    "runengine.resolver.exchange",
    "runengine.resolver.forward",
    "runengine.resolver.listener",
    "runengine.resolver.messages",
    "runengine.resolver.process",
    "runengine.resolver.server",
    "runengine.resolver.stream",
    # pydantic, 9 MiB with the memory of its library: documents that come from outside.
    "runengine.mgr.container.cdi",
    "runengine.mgr.container.device_requests",
    "runengine.mgr.image.archived",
    "runengine.mgr.image.importing",
    "runengine.mgr.image.load",
    "runengine.mgr.image.manifests",
    "runengine.mgr.image.pushable",
    "runengine.mgr.image.push",
    "runengine.mgr.image.sending",
    "runengine.oci_spec.cdi_documents",
    "runengine.oci_spec.image",
    "runengine.oci_spec.runtime",
    "runengine.oci_spec.seccomp_profile",
    "runengine.settings",
    # oras, requests, HTTP and TLS, 12 MiB.
    "runengine.mgr.image.remote",
    "runengine.registry",
    # Seldom, or so long that their import does not matter.
    "runengine.cli.build",
    "runengine.cli.check",
    "runengine.cli.doctor",
    "runengine.cli.generate",
    "runengine.cli.image_tree",
    "runengine.cli.image_verify",
    "runengine.cli.manifest",
    "runengine.cli.registry_artifact",
    "runengine.cli.registry_explain",
    "runengine.cli.registry_login",
    "runengine.cli.registry_search",
    "runengine.cli.spec",
    "runengine.mgr.building",
    "runengine.mgr.check",
    "runengine.mgr.doctor",
    "runengine.mgr.image.mending",
    "runengine.mgr.image.verify",
    "runengine.mgr.registry",
    "runengine.mgr.systemd_unit",
}
# What is imported only when used, by us or by libraries; in the launcher once for all.
_USED_LATE = (
    "encodings.ascii",
    "inspect",
    "isal.isal_zlib",
    "json",
    "prctl",
    "queue",
    "resource",
    "socket",
    "subprocess",
    "tempfile",
    "termios",
    "threading",
    "traceback",
)


def preload() -> None:
    """Import what calls may need, so that their workers find it in memory."""
    from runengine.netns import messages

    for name in (*_USED_LATE, *_modules(sys.modules["runengine"])):
        importlib.import_module(name)
    messages.load()


def _modules(package: ModuleType) -> Iterator[str]:
    """All modules in and below ``package`` but those that are left out."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.name in _LEFT_OUT:
            continue
        yield found.name
        if found.ispkg:
            yield from _modules(importlib.import_module(found.name))
