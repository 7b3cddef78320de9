"""How ``doctor`` shows what was found."""

from __future__ import annotations

import json

import pytest

from runengine.mgr.doctor import examine
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Section
from tests.support.cli import call

GOOD = Section("One", (Finding("a", OK, "fine"), Finding("b", NOTE, "less\x1b[1m", "do this")))
BAD = Section("Two", (Finding("c", PROBLEM, " ".join(["word"] * 20), "and that"),))


@pytest.fixture
def report(monkeypatch):
    """Answer with these sections."""
    return lambda *sections: monkeypatch.setattr(examine, "examine", lambda _: list(sections))


def test_lines_with_remedies(report):
    report(GOOD, BAD)
    result = call("doctor")
    assert result.exit_code == 1
    assert result.stdout == (
        "One\n"
        "  OK      a                 fine\n"
        "  note    b                 less\\x1b[1m\n"
        "                            -> do this\n"
        "\n"
        "Two\n"
        f"  PROBLEM c                 {' '.join(['word'] * 14)}\n"
        f"                            {' '.join(['word'] * 6)}\n"
        "                            -> and that\n"
        "\n"
        "1 problem, 1 note\n"
    )


def test_quiet_leaves_out_what_is_fine(report):
    report(GOOD, Section("Three", (Finding("d", OK, "fine"),)))
    result = call("doctor", "-q")
    assert result.exit_code == 0
    assert "fine" not in result.stdout
    assert "Three" not in result.stdout
    assert result.stdout.endswith("Nothing is missing that is needed; 1 note\n")


def test_json_and_templates(report):
    report(GOOD, BAD)
    result = call("doctor", "--format", "json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert shown["Healthy"] is False
    assert shown["Sections"][1]["Findings"][0]["Remedy"] == "and that"
    assert call("doctor", "--format", "{{len .Sections}} {{.Healthy}}").stdout == "2 false\n"
