"""When the default profile is given to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runengine.linux import apparmor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that were loaded; the kernel has what was loaded, until ``clear``."""
    found: list[str] = []
    monkeypatch.setattr(apparmor, "load", lambda _, text: found.append(text))
    monkeypatch.setattr(apparmor, "is_loaded", lambda _: bool(found))
    return found


def test_once_and_again_when_the_text_is_another(loads: list[str], tmp_path: Path):
    note = str(tmp_path / "note")
    for text in ("a", "a", "b", "b"):
        apparmor.ensure("x", text, note)
    assert loads == ["a", "b"]


def test_again_when_somebody_has_taken_it_out(loads: list[str], tmp_path: Path):
    note = str(tmp_path / "note")
    apparmor.ensure("x", "a", note)
    loads.clear()
    apparmor.ensure("x", "a", note)
    assert loads == ["a"]


def test_again_when_nobody_knows_what_is_loaded(loads: list[str], tmp_path: Path):
    loads.append("of an older engine")
    apparmor.ensure("x", "a", str(tmp_path / "note"))
    assert loads[1:] == ["a"]


def test_what_the_parser_refuses_is_not_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(_: str, _text: str) -> None:
        raise OSError("apparmor_parser refused x")

    monkeypatch.setattr(apparmor, "load", refuse)
    with pytest.raises(OSError, match="refused"):
        apparmor.ensure("x", "a", str(tmp_path / "note"))
    assert list(tmp_path.iterdir()) == []
