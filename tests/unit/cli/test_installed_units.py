"""The units for systemd: what their commands do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import systemd_syntax

pytestmark = pytest.mark.side_effects

UNITS = Path(__file__).parents[3] / "systemd"


@pytest.fixture
def started(tmp_path):
    """What the containers' unit runs when it is started, in ``tmp_path``."""
    program = tmp_path / "runengine"
    program.write_text('#!/bin/sh\necho "$*"\n')
    program.chmod(0o755)
    lines = systemd_syntax.settings((UNITS / "runengine-containers.service").read_text())
    (command,) = [value for _, key, value in lines if key == "ExecStart"]
    words = [
        word.replace("/usr/local/bin/runengine", str(program)).replace(
            "/run/runengine/", f"{tmp_path}/"
        )
        for word in systemd_syntax.words(command)
    ]
    return lambda: subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_at_a_boot_starting_the_containers_unit_does_nothing(started):
    assert started() == ""


def test_started_after_it_was_stopped_it_brings_containers_back(started, tmp_path):
    (tmp_path / "halting").touch()
    assert started() == "system restore\n"
