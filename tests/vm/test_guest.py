"""What the tests inside the guests found, each as a test of its own, as soon as it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.vm import plan
from tests.vm.conftest import TIMEOUT_S

if TYPE_CHECKING:
    from tests.support.vm import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(TIMEOUT_S + 300)]


def results(messages: list[dict[str, Any]], inner: str) -> list[dict[str, Any]] | None:
    """The results of a test function, one for each of its parameters; None until all are there."""
    expected = []
    for message in messages:
        expected += [name for name in message.get("collected", []) if is_of(name, inner)]
    found = [message for message in messages if is_of(message.get("test", ""), inner)]
    ended = any(inner in message.get("ended", []) for message in messages)
    return found if ended or (expected and len(found) >= len(expected)) else None


def is_of(name: str, inner: str) -> bool:
    """Whether a node id is the function ``inner``, with any parameters."""
    return name.partition("[")[0] == inner


@pytest.mark.parametrize(
    "inner", [pytest.param(name, id=name.removeprefix("tests/")) for name in plan.everything()]
)
def test_inside(machines: dict[str, Machine], inner: str) -> None:
    machine = machines[plan.guest_of(inner)]
    machine.wait(lambda messages: results(messages, inner) is not None)
    found = results(machine.messages, inner)
    if not found:
        broken = [message["broken"] for message in machine.messages if "broken" in message]
        pytest.fail("it did not run in the guest\n" + "\n".join(broken), pytrace=False)
    bad = [message for message in found if message["outcome"] == "failed"]
    if bad:
        text = "\n\n".join(f"{message['test']}\n{message['text']}" for message in bad)
        pytest.fail(f"{text}\n\nall of the console: {machine.console}", pytrace=False)
    if all(message["outcome"] == "skipped" for message in found):
        pytest.skip(found[0]["text"])


def test_the_guests_end_by_themselves(machines: dict[str, Machine]) -> None:
    for machine in machines.values():
        machine.wait_for_end()
        assert "Power" in machine.tail(), machine.tail()
