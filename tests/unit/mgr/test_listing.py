"""``ps`` from the managers' side: filters, order, the words for a status."""

import pytest

from runengine.errors import InvalidParameter, NotFound
from runengine.linux import clock
from runengine.mgr.container import status
from runengine.mgr.container.listing import list_containers
from tests.unit.mgr.test_observe import live_state


@pytest.fixture
def names(context):
    """Names that a listing shows."""

    def names_of(*, everything=True, limit=0, **filters):
        found = list_containers(
            context, everything=everything, filters=filters, limit=limit, size=False
        )
        return [entry["Names"][0].removeprefix("/") for entry in found]

    return names_of


@pytest.fixture
def family(context, add):
    base = context.images.add("base", ["l1"])
    child = context.images.add("child", ["l1", "l2"])
    add("old", image=base, labels={"tier": "db", "on": ""}, Status="exited", ExitCode=3)
    add("web-1", image=child, labels={"tier": "web"}, **live_state())
    add("web-2", image=child, labels={"tier": "web", "on": "1"})


@pytest.mark.usefixtures("family")
def test_newest_first_and_only_live_ones_unless_asked(names):
    # B-11
    assert names() == ["web-2", "web-1", "old"]
    assert names(everything=False) == ["web-1"]
    assert names(everything=False, limit=1) == ["web-2"]
    assert names(everything=False, status=["exited"]) == ["old"]


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"name": ["web"]}, ["web-2", "web-1"]),
        ({"name": ["^/old$"]}, ["old"]),
        ({"name": ["1$", "old"]}, ["web-1", "old"]),
        ({"id": ["^0202"]}, ["web-1"]),
        ({"label": ["on"]}, ["web-2", "old"]),
        ({"label": ["tier=web", "on"]}, ["web-2"]),
        ({"label": ["tier!=web"]}, ["old"]),
        ({"status": ["created", "exited"]}, ["web-2", "old"]),
        ({"exited": ["3"]}, ["old"]),
        ({"exited": ["0"]}, []),
        ({"ancestor": ["base"]}, ["web-2", "web-1", "old"]),
        ({"ancestor": ["child"]}, ["web-2", "web-1"]),
        ({"ancestor": ["nothing"]}, []),
        ({"before": ["web-2"]}, ["web-1", "old"]),
        ({"since": ["web-1"]}, ["web-2"]),
        ({"network": ["none"]}, ["web-2", "web-1", "old"]),
        ({"volume": ["/data"]}, []),
        ({"health": ["none"]}, ["web-2", "web-1", "old"]),
        ({"health": ["healthy", "unhealthy"]}, []),
        ({"name": ["web"], "label": ["on"]}, ["web-2"]),
    ],
)
def test_filters(names, filters, expected):
    # B-11
    assert names(**filters) == expected


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    "filters",
    [{"colour": ["red"]}, {"status": ["sleepy"]}, {"exited": ["x"]}, {"name": ["("]},
     {"health": ["well"]}],
)
def test_bad_filters_are_refused(names, filters):
    # 0-2
    with pytest.raises(InvalidParameter):
        names(**filters)


def test_before_an_unknown_container(names):
    with pytest.raises(NotFound):
        names(before=["nobody"])


NOW_S = 1_700_000_000


def ago(seconds):
    return clock.format_ns(int((NOW_S - seconds) * 1e9))


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"Status": "created"}, "Created"),
        ({"Status": "running", "StartedAt": ago(3.5)}, "Up 3 seconds"),
        ({"Status": "running", "StartedAt": ago(-99)}, "Up Less than a second"),
        ({"Status": "paused", "StartedAt": ago(150)}, "Up 2 minutes (Paused)"),
        ({"Status": "exited", "ExitCode": 101, "FinishedAt": ago(3600)},
         "Exited (101) About an hour ago"),
        ({"Status": "exited", "ExitCode": None, "FinishedAt": ago(86400 * 20)},
         "Exited (unknown) 2 weeks ago"),
    ],
)
def test_words_for_a_status(monkeypatch, state, text):
    # D-15
    monkeypatch.setattr("time.time", lambda: NOW_S)
    assert status.describe(state) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (61, "About a minute"),
        (45 * 60, "45 minutes"),
        (5 * 3600, "5 hours"),
        (47 * 3600, "47 hours"),
        (72 * 3600, "3 days"),
        (86400 * 90, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_durations(seconds, text):
    assert status.human_duration(seconds) == text
