"""The monitor's loop: what it may be asked to wait for."""

from __future__ import annotations

import os

import pytest

from runengine.monitor.loop import READ


@pytest.mark.parametrize("seconds", [25 * 86400, 1e9, 9e9])
def test_what_is_due_in_ages_ends_no_monitor(loop, seconds):
    reader, writer = os.pipe()
    os.write(writer, b"news")
    loop.later(seconds, loop.stop)
    heard = []

    def hear(_events):
        heard.append(os.read(reader, 10))
        loop.stop()

    loop.watch(reader, READ, hear)
    loop.run()
    assert heard == [b"news"]
    for fd in (reader, writer):
        os.close(fd)
