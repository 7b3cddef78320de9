"""What the metrics server tells its operator when it begins."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from runengine.launcher import exporter
from runengine.launcher.address import parse_address
from runengine.paths import Paths


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        ("127.0.0.1:0", [r"metrics on 127.0.0.1:[1-9]\d*"]),
        ("unix:{tmp_path}/metrics.sock", []),
    ],
)
def test_a_port_that_the_kernel_chose_is_told(monkeypatch, tmp_path, address, lines):
    told: list[str] = []
    monkeypatch.setattr(exporter, "log", told.append)
    monkeypatch.setattr(exporter, "Server", lambda *_: SimpleNamespace(run=lambda: None))
    paths = Paths(f"{tmp_path}/root", f"{tmp_path}/state")
    exporter._serve(paths, parse_address(address.format(tmp_path=tmp_path)), None, 0)
    assert len(told) == len(lines)
    for text, pattern in zip(told, lines, strict=True):
        assert re.match(pattern, text)
