"""Reading events: history, what is new, and when it ends."""

import threading
import time
from contextlib import closing
from itertools import pairwise

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr import event_stream
from runengine.mgr.event_stream import Tail, Window, subscribe
from runengine.mgr.events import Events
from runengine.monitor import journal, wire

S = 1_000_000_000
PAST = 1_700_000_000


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events" / "journal.jsonl")


def write(path, *names, at=None):
    for name in names:
        one = journal.message("container", "start", name, {"name": name}, began_ns=1)
        if at is not None:
            one.update(time=at, timeNano=at * S)
        journal.append(path, one)


def names(messages):
    return [one["Actor"]["ID"] for one in messages]


def read(path, **options):
    with subscribe(path, follow=False, **options) as found:
        return names(found)


def test_history_in_the_order_of_the_file(path):  # the clock was set back
    write(path, "a", at=PAST + 5)
    write(path, "b", at=PAST + 1)
    write(path, "c", at=PAST + 7)
    assert read(path) == ["a", "b", "c"]
    assert read(path, since=str(PAST + 2)) == ["a", "c"]
    assert read(path, until=str(PAST + 5)) == ["a", "b"]
    assert read(path, since=f"{PAST + 5}.000000001", until=str(PAST + 7)) == ["c"]
    assert read(path, since=(PAST + 5) * S, until=(PAST + 5) * S) == ["a"]
    assert read(path, since=float(PAST + 6)) == ["c"]


def test_dates_and_durations(path):
    now = int(time.time())
    write(path, "old", at=now - 7200)
    write(path, "new", at=now - 60)
    assert read(path, since="1h") == ["new"]
    assert read(path, since="3h", until="1h30m") == ["old"]
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3600))
    assert read(path, since=day) == ["new"]


def test_an_end_in_the_past_closes(path):
    write(path, "a")
    with subscribe(path, until="0s") as found:
        assert names(found) == ["a"]


def test_an_end_before_the_beginning(path):
    with pytest.raises(InvalidParameter, match="cannot be after"):
        subscribe(path, since="1m", until="1h")


@pytest.mark.parametrize("text", ["yesterday", "12:00", "1x", "2026-13-01"])
def test_no_time(path, text):
    for end in ("since", "until"):
        with pytest.raises(InvalidParameter, match="invalid time"):
            subscribe(path, **{end: text})


def test_without_limits_only_what_is_new(path):
    write(path, "old")
    with subscribe(path) as found:
        write(path, "new")
        assert next(found)["id"] == "new"


def test_what_is_new_counts_from_the_call_not_the_first_look(path):
    found = subscribe(path, since="1h")
    write(path, "first", "second")
    assert [next(found)["id"], next(found)["id"]] == ["first", "second"]
    found.close()


def test_an_end_ahead_closes_then(path):
    write(path, "a")
    with subscribe(path, until=time.time_ns() + S // 5) as found:
        write(path, "b")
        assert names(found) == ["a", "b"]
    assert names(found) == []


def test_a_beginning_ahead(path):
    with subscribe(path, since="-1h", until=time.time_ns() + 7200 * S) as found:
        write(path, "early")
        write(path, "late", at=int(time.time()) + 3700)
        assert next(found)["id"] == "late"


def test_new_events_count_even_if_the_clock_was_set_back(path):
    with subscribe(path, since="1m") as found:
        write(path, "back", at=PAST)
        assert next(found)["id"] == "back"


def test_what_is_ours_alone_is_not_shown(path):
    write(path, "a")
    with subscribe(path, follow=False) as found:
        assert "tookNs" not in next(found)
    with closing(Tail(path, from_start=True)) as tail:
        (message,) = tail.read()
    assert message is not None
    assert message["tookNs"] > 0


def test_damaged_lines_are_passed_over(path):
    write(path, "a")
    with open(path, "ab") as file:
        file.write(b'{"Type":"container"\n\0\0\0\nnonsense\n{"cut": "sho')
    assert read(path) == ["a"]
    with subscribe(path) as found:
        write(path, "b")
        assert next(found)["id"] == "b"
    assert read(path) == ["a", "b"]


def test_no_journal_yet(path):
    assert read(path, since="1h") == []
    with subscribe(path) as found:
        write(path, "a")
        assert next(found)["id"] == "a"


def test_filters_apply_to_history_and_news(path):
    write(path, "a", "b")
    with subscribe(path, since="1h", filters={"container": ["b"]}) as found:
        write(path, "a", "b")
        assert [next(found)["id"], next(found)["id"]] == ["b", "b"]


def test_a_follower_loses_nothing_when_the_journal_is_turned_over(path, monkeypatch):
    """It reads while others write; a file has room for a few messages only."""
    monkeypatch.setattr(journal, "LIMIT_BYTES", 4000)
    wanted = [f"n{number}" for number in range(200)]
    turn = threading.Semaphore(10)  # so that it falls behind by less than a file

    def write_all():
        for name in wanted:
            turn.acquire()
            write(path, name)

    with subscribe(path) as found:
        writer = threading.Thread(target=write_all)
        writer.start()
        got = []
        for one in found:
            got.append(one["id"])
            turn.release()
            if len(got) == len(wanted):
                break
        writer.join()
    assert got == wanted


def test_a_follower_that_falls_behind_by_the_whole_journal_is_told(path, monkeypatch):
    monkeypatch.setattr(journal, "LIMIT_BYTES", 1000)
    write(path, "first")
    gaps = []
    with subscribe(path, until="-1h", on_gap=lambda: gaps.append(1)) as found:
        assert next(found)["id"] == "first"
        write(path, *(f"n{number}" for number in range(50)))
        rest = [int(next(found)["id"][1:])]
        while rest[-1] != 49:
            rest.append(int(next(found)["id"][1:]))
    assert gaps == [1]
    # What was left of its own file, then what is there still.
    steps = [after - before for before, after in pairwise(rest)]
    assert sum(step > 1 for step in steps) == 1
    assert min(steps) == 1


def test_without_inotify_it_looks_in_turns(path, monkeypatch):
    def refuse(_):
        raise OSError("no instance left")

    monkeypatch.setattr("runengine.linux.inotify.DirectoryWatch", refuse)
    monkeypatch.setattr(event_stream, "POLL_S", 0.01)
    with subscribe(path) as found:
        threading.Timer(0.05, write, (path, "a")).start()
        assert next(found)["id"] == "a"


def test_sleeps_until_the_end_or_for_long():
    assert Window(None, None).sleep_s() == event_stream.LONG_SLEEP_S
    assert 0 < Window(None, time.time_ns() + S).sleep_s() <= 1.002
    assert Window(None, time.time_ns() + 3600 * S).sleep_s() == event_stream.CLOCK_CHECK_S
    assert Window(None, "1h").sleep_s() < 0.01


def test_emission_names_object_and_labels(path):
    Events(path).image("tag", "sha256:1", "bb:1", labels={"l": "v"}, began_ns=1)
    with open(path, "rb") as file:
        one = wire.loads(file.read())
    assert one["Actor"] == {"ID": "sha256:1", "Attributes": {"l": "v", "name": "bb:1"}}
    assert (one["status"], one["id"]) == ("tag", "sha256:1")
