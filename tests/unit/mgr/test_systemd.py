"""What create decides of a container whose process 1 is systemd."""

from __future__ import annotations

from typing import Any

import pytest

from runengine.errors import Unsupported
from runengine.linux import kernel
from runengine.mgr.container.create import _starts_systemd
from tests.support import specs


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "probe", lambda: specs.KERNEL)


def decide(
    *command: str, config: dict[str, Any] | None = None, **host: Any
) -> tuple[bool, str, list[str]]:
    """Whether it is one, by which signal it is stopped, and what the user hears."""
    warnings: list[str] = []
    merged = specs.config(Cmd=list(command) or None, **(config or {}))
    wanted = specs.host(**host)
    found = _starts_systemd(merged, wanted, {"unified": "/u"}, warnings)
    assert wanted["CgroupnsMode"] == ("private" if found else host.get("CgroupnsMode", ""))
    return found, merged["StopSignal"], warnings


def test_the_command_decides():
    assert decide("/sbin/init") == (True, "SIGRTMIN+3", [])
    assert decide("/usr/lib/systemd/systemd", config={"StopSignal": "TERM"}) == (True, "TERM", [])
    assert decide("3", config={"Entrypoint": ["/sbin/init"]})[0]
    assert decide("sh") == decide() == decide("/init") == (False, "", [])


def test_the_mode_decides():
    assert decide("/sbin/init", Systemd="false") == (False, "", [])
    assert decide("/start.sh", Systemd="always") == (True, "SIGRTMIN+3", [])
    assert decide("/start.sh", Systemd="true") == (False, "", [])


def test_what_cannot_boot_is_refused_if_it_was_asked_for_and_told_if_not():
    with pytest.raises(Unsupported, match="--pid host: systemd has to be process 1"):
        decide("sh", Systemd="always", PidMode="host")
    told = ["no provision for systemd: --pid host: systemd has to be process 1"]
    assert decide("/sbin/init", PidMode="host") == (False, "", told)


def test_another_init_takes_its_place():
    assert decide("/sbin/init", Init=True) == (False, "", [])
    with pytest.raises(Unsupported, match="--init is process 1"):
        decide("/sbin/init", Init=True, Systemd="always")
