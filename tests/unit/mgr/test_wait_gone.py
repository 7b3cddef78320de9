"""``wait`` for a container that is no more: the journal of events remembers its exit."""

from __future__ import annotations

import pytest

from runengine.errors import NotFound
from runengine.mgr.container import gone, pending, wait
from runengine.mgr.container.wait import Waited
from runengine.monitor import journal

ID, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def die(context):
    """Writes down the end of a run."""

    def write(container_id, code):
        attributes = {"exitCode": code, "image": "x", "name": container_id[:6]}
        one = journal.message("container", "die", container_id, attributes)
        journal.append(context.paths.journal, one)

    return write


def test_the_last_exit_counts(context, die):
    die(ID, "1")
    die(ID, "7")
    die(OTHER, "3")
    assert wait.wait(context, ID) == Waited(7, "")
    assert wait.wait(context, ID[:12], "removed") == Waited(7, "")
    assert wait.wait(context, OTHER, "next-exit") == Waited(3, "")


def test_what_nobody_saw_is_not_0(context, die):
    die(ID, "unknown")
    code, why = wait.wait(context, ID)
    assert code is None
    assert "before its exit was seen" in why


@pytest.mark.parametrize("name", [ID[:6], ID[:11], "ef" * 32, "web", f"{ID[:12]}%", ""])
def test_names_and_short_pieces_are_no_ids(context, die, name):
    die(ID, "7")
    with pytest.raises(NotFound, match="No such container"):
        wait.wait(context, name)


def test_it_is_found_in_the_journals_older_file(context, die, monkeypatch):
    die(ID, "7")
    monkeypatch.setattr(journal, "LIMIT_BYTES", 1)
    die(OTHER, "3")
    assert gone.find_end(context.paths.journal, ID) == gone.End(ID, 7)


def test_there_need_be_no_journal(context):
    assert gone.find_end(context.paths.journal, ID) is None


def test_a_removal_between_two_looks_is_no_exit_code_0(context, add, die, monkeypatch):
    """The record goes while it still says that the container runs."""
    record = add("web", Status="running")
    monkeypatch.setattr(pending, "look", lambda _, found: found.state)

    def connect(_directory):
        die(record.id, "5")
        context.store.containers.remove(record.id)

    monkeypatch.setattr("runengine.monitor.client.connect", connect)
    assert wait.wait(context, "web") == Waited(5, "")
