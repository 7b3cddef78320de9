"""On the host: one guest for the whole run; its tests report through it."""

from __future__ import annotations

import faulthandler
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.capabilities import missing
from tests.support.vm import Machine
from tests.support.vm_image import Unreachable, ensure
from tests.vm import plan

if TYPE_CHECKING:
    from collections.abc import Iterator

# Those tests are for the inside.
collect_ignore_glob = [] if "RUNENGINE_GUEST" in os.environ else ["guest/*"]

TIMEOUT_S = 3600
"""For everything in the guest together: a tenth is enough on a host that does nothing else."""


@pytest.fixture(scope="session")
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A guest that runs the tests that were selected, and no others."""
    for program in ("qemu-system-x86_64", "debootstrap", "mke2fs", "debugfs"):
        reason = missing(program)
        if reason:
            pytest.skip(reason)
    wanted = {str(item.callspec.params["inner"]) for item in request.session.items
              if isinstance(item, pytest.Function) and hasattr(item, "callspec")
              and "inner" in item.callspec.params}  # fmt: skip
    boots = plan.select(wanted)
    try:
        ensure()
    except Unreachable as error:
        pytest.skip(f"the guest cannot be made: {error}")
    with Machine(tmp_path_factory.mktemp("guest"), {"boots": boots}, TIMEOUT_S) as started:
        yield started


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Waiting for a guest is no reason to print everybody's stack."""
    faulthandler.cancel_dump_traceback_later()
