"""What the documentation promises to have all of: settings, variables, commands, pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Context

from runengine.cli import main, run_table
from runengine.cli.lazy import LazyGroup
from runengine.config import Config
from runengine.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


def text_of(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_setting_is_in_the_table():
    keys = set(re.findall(r"`([a-z_]+)`", text_of("configuration.md")))
    assert set(Settings.model_fields) <= keys
    assert set(Settings.model_fields) == set(Config._fields) - {"paths"}


def test_every_variable_is_in_the_table():
    source = "".join(path.read_text() for path in (ROOT / "runengine").rglob("*.py"))
    used = set(re.findall(r"\bRUNENGINE_[A-Z]+\b", source))
    assert used <= set(re.findall(r"`(RUNENGINE_[A-Z]+)`", text_of("configuration.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8"))]
    inside = [target for target in links if "://" not in target]
    assert [one for one in inside if not (page.parent / one).exists()] == []


def test_every_page_is_found_from_the_readme():
    readme = PAGES[0].read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages == {name for name in pages if f"docs/{name}" in readme}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_are_where_pages_say(page):
    named = re.findall(r"`((?:\w+/)+\w+\.py)\b", page.read_text(encoding="utf-8"))
    places = (ROOT, ROOT / "runengine", ROOT / "tests")
    assert [one for one in named if not any((place / one).exists() for place in places)] == []


def commands(group=main.program, path=()):
    for name, entry in group.table.items():
        found = group.get_command(Context(group), name)
        if isinstance(found, LazyGroup):
            yield from commands(found, (*path, name))
        elif not entry.hidden and not entry.alias_of:
            yield " ".join((*path, name))


def test_every_command_is_mentioned():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    verbs = {path.split()[-1] for path in commands()}
    assert [verb for verb in sorted(verbs) if not re.search(rf"\b{verb}\b", pages)] == []


def test_flags_that_are_said_not_to_be_here_are_not():
    page = text_of("docker-and-podman.md")
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `run --")]
    said = {flag for row in rows for flag in re.findall(r"--[a-z-]+", row)}
    mine = re.findall(r"--[a-z-]+", page.partition("## What may surprise you")[0])
    options = {name for param in run_table.run_params() for name in param.opts}
    assert "--rootfs" in said
    assert (said - set(mine)) & options == set()
