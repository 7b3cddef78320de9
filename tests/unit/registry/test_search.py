"""Searching registries, and catalogs where there is no search (N-19)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.errors import Corrupt, Unauthorized, Unavailable
from runengine.registry import search
from runengine.registry.credentials import AuthFiles
from runengine.registry.search import Found, SearchClient
from tests.support.fake_registry import FakeRegistry, Fault


@pytest.fixture
def fake():
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def client(fake):
    with SearchClient(fake.host, credentials=AuthFiles([]), timeout_s=5) as one:
        yield one


def answers(fake, path, document, **headers) -> None:
    fake.faults[path] = Fault(body=json.dumps(document).encode(), headers=headers)


def test_a_search(fake, client) -> None:
    found = {"name": "a/b", "description": "d", "star_count": 3, "is_official": True, "more": 1}
    answers(fake, "/v1/search", {"results": [found, {"star_count": "x"}, 5]})
    assert client.search("b c", 7) == [Found("a/b", "d", 3, True), Found("")]
    assert fake.asked[0].path == "/v1/search?q=b+c&n=7"


@pytest.mark.parametrize(
    "fault",
    [Fault(404), Fault(body=b"<html>"), Fault(body=b"[1]"), Fault(body=b'{"results": 1}')],
)
def test_no_search(fake, client, fault) -> None:
    fake.faults["/v1/search"] = fault
    assert client.search("x", 5) is None


def test_a_search_that_fails_is_not_none(fake, client) -> None:
    fake.faults["/v1/search"] = Fault(429)
    with pytest.raises(Unavailable, match="no more requests"):
        client.search("x", 5)
    fake.authorize = lambda _path, _header: {"WWW-Authenticate": "Basic realm=x"}
    with pytest.raises(Unauthorized):
        client.search("x", 5)


def test_an_answer_without_an_end(fake, client, monkeypatch) -> None:
    monkeypatch.setattr("runengine.registry.search.ANSWER_LIMIT_BYTES", 100)
    answers(fake, "/v1/search", {"results": ["x" * 200]})
    with pytest.raises(Corrupt, match="more than the limit"):
        client.search("x", 5)


def test_a_catalog_goes_on_by_its_links(fake, client) -> None:
    link = '</v2/_catalog?last=b&n=1000>; rel="next"'
    answers(fake, "/v2/_catalog?n=", {"repositories": ["a", "b", 3]}, Link=link)
    answers(fake, "last=b", {"repositories": ["c"]})
    assert list(client.catalog()) == ["a", "b", "c"]


def test_a_catalog_that_leads_elsewhere_or_on_for_ever(fake, client, monkeypatch) -> None:
    monkeypatch.setattr("runengine.registry.search.CATALOG_LIMIT", 10)
    link = '<http://evil.example/v2/_catalog?n=2>; rel="next"'
    answers(fake, "/v2/_catalog", {"repositories": ["a", "b"]}, Link=link)
    assert list(client.catalog()) == ["a", "b"] * 5


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_link_leads_to_a_path_here_or_nowhere(text) -> None:
    for link in (text, f"<{text}>; rel=\"next\""):
        found = search._next_page("/v2/_catalog?n=1", link)
        assert found is None or (found.startswith("/") and "://" not in found.partition("?")[0])


def test_neither_search_nor_catalog(client) -> None:
    with pytest.raises(Unavailable, match="neither a search nor a catalog"):
        list(client.catalog())
