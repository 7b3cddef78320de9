"""When a busy registry is asked again."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from runengine.errors import Unavailable
from runengine.registry import patience
from runengine.registry.client import RegistryClient
from runengine.registry.credentials import AuthFiles
from runengine.registry.reference import parse
from tests.support.fake_registry import FakeRegistry, Fault
from tests.support.layouts import Layout


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (503, None, 0.5),
        (503, "7", 7.0),
        (502, "nonsense", 0.5),
        (500, "-3", 0.5),
        (429, None, None),
        (429, "0", 0.0),
        (429, "60", 60.0),
        (429, "61", None),
        (429, "9" * 5000, None),
        (429, "\N{SUPERSCRIPT TWO}", None),
        (404, "1", None),
        (200, "1", None),
    ],
)
def test_how_long(status, said, expected):
    headers = {} if said is None else {"Retry-After": said}
    assert patience.wait_s(status, headers, 0.5) == expected


def test_a_date_counts_from_now():
    soon = patience.wait_s(429, {"Retry-After": formatdate(time.time() + 30, usegmt=True)}, 1)
    assert soon is not None
    assert 0 < soon <= 30
    past = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert patience.wait_s(429, past, 1) == 0


def test_pauses_double_up_to_a_limit():
    pauses = [patience.backoff_s(number, 0.3) for number in (1, 2, 3, 4, 9, 10_000)]
    assert pauses == [0.3, 0.6, 1.2, 2.4, 10.0, 10.0]


@pytest.fixture
def fake():
    layout = Layout()
    descriptor = layout.image({"hello": b"world"})
    with FakeRegistry(layout) as registry:
        registry.tag("1", descriptor)
        yield registry


@pytest.fixture
def slept(monkeypatch):
    """Seconds that would have been slept."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


def ask(fake):
    with RegistryClient(credentials=AuthFiles([]), timeout_s=5) as client:
        return client.manifest(parse(f"{fake.host}/app:1")).digest


def test_a_limited_client_comes_back_when_it_may(fake, slept):
    fake.faults["/manifests/1"] = Fault(429, b"{}", {"Retry-After": "17"}, times=1)
    assert ask(fake) == fake.tags["1"]
    assert slept == [17.0]


def test_who_is_to_wait_for_hours_is_told_so(fake, slept):
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}'
    fake.faults["/manifests/1"] = Fault(429, body, {"Retry-After": "21600"})
    with pytest.raises(Unavailable) as caught:
        ask(fake)
    assert slept == []
    assert caught.value.details == "pull rate limit"
    assert "wait 21600 seconds" in str(caught.value.resolution)
