"""On the host: guests for the whole run; their tests report through them."""

from __future__ import annotations

import faulthandler
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support import vm_carry
from tests.support.capabilities import missing
from tests.support.vm import Machine
from tests.support.vm_image import Unreachable, ensure
from tests.vm import plan

if TYPE_CHECKING:
    from collections.abc import Iterator

# Those tests are for the inside.
collect_ignore_glob = [] if "RUNENGINE_GUEST" in os.environ else ["guest/*"]

TIMEOUT_S = 3600
"""For everything in a guest together: a tenth is enough on a host that does nothing else."""


@pytest.fixture(scope="session")
def machines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Machine]]:
    """Guests that run the tests that were selected, and no others; all of them at once."""
    for program in ("qemu-system-x86_64", "debootstrap", "mke2fs", "debugfs"):
        reason = missing(program)
        if reason:
            pytest.skip(reason)
    wanted = {str(item.callspec.params["inner"]) for item in request.session.items
              if isinstance(item, pytest.Function) and hasattr(item, "callspec")
              and "inner" in item.callspec.params}  # fmt: skip
    plans = {guest.name: plan.select(guest, wanted) for guest in plan.GUESTS}
    try:
        image = ensure()
    except Unreachable as error:
        pytest.skip(f"the guest cannot be made: {error}")
    with ExitStack() as stack:
        started = {}
        items = [item for boots in plans.values() for boot in boots for item in boot["items"]]
        with vm_carry.prepared(image, items) as top:
            for name, boots in plans.items():
                if boots:
                    directory = tmp_path_factory.mktemp(name)
                    vm_carry.make_disk(directory / "carry.img", top, {"boots": boots})
                    machine = Machine(directory, image, TIMEOUT_S)
                    started[name] = stack.enter_context(machine)
        yield started


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Waiting for a guest is no reason to print everybody's stack."""
    faulthandler.cancel_dump_traceback_later()
