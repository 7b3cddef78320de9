"""Lists of tags: pages, and what a registry may say instead of one."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.errors import Corrupt, NotFound
from runengine.registry import tags
from runengine.registry.client import RegistryClient
from runengine.registry.credentials import AuthFiles
from runengine.registry.reference import parse
from tests.support.fake_registry import FakeRegistry, Fault

START = "/v2/team/app/tags/list"


def page(*names, link=""):
    return json.dumps({"name": "team/app", "tags": list(names)}).encode(), link


def collect(pages):
    """The tags, and the paths that were asked for."""
    asked: list[str] = []

    def answer(path):
        asked.append(path)
        return pages[path]

    return tags.collect("team/app", answer), asked


def test_one_page():
    assert collect({START: page("1", "2", "latest")}) == (["1", "2", "latest"], [START])


def test_a_repository_without_tags():
    assert collect({START: (b'{"tags": null}', "")}) == ([], [START])


@pytest.mark.parametrize(
    "link",
    [
        f'<{START}?n=2&last=2>; rel="next"',
        "</v2/team/app/tags/list?n=2&last=2>; rel=next",
        f'<https://elsewhere.example{START}?n=2&last=2>; rel="next"',
    ],
)
def test_pages_follow_each_other_on_the_same_host(link):
    found, asked = collect(
        {START: page("1", "2", link=link), f"{START}?n=2&last=2": page("2", "3")}
    )
    assert found == ["1", "2", "3"]
    assert asked == [START, f"{START}?n=2&last=2"]


def test_a_list_that_goes_in_circles_ends():
    link = f"<{START}?last=1>; rel=next"
    with pytest.raises(Corrupt, match="does not end"):
        collect({START: page("1", link=link), f"{START}?last=1": page("1", link=link)})


def test_a_list_that_is_too_long_ends(monkeypatch):
    monkeypatch.setattr(tags, "TAGS_LIMIT", 10)
    numbers = iter(range(1000))

    def answer(_path):
        number = next(numbers)
        return page(f"t{number}", link=f"<{START}?last={number}>; rel=next")

    with pytest.raises(Corrupt, match="does not end"):
        tags.collect("team/app", answer)
    assert next(numbers) == 11


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"tags": 5}',
        b'{"tags": "abc"}',
        b'{"tags": [1]}',
        b'{"tags": ["a/b"]}',
        b'{"tags": ["x@sha256:%s"]}' % (b"1" * 64),
        b'{"tags": ["a\\n"]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_tags(data):
    with pytest.raises(Corrupt, match="malformed") as caught:
        collect({START: (data, "")})
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200), st.text(max_size=80))
@settings(max_examples=200)
def test_any_answer_is_read_or_refused(data, link):
    pages = iter([(data, link), (data, link)])
    with contextlib.suppress(Corrupt):
        tags.collect("team/app", lambda _path: next(pages))


def test_from_a_registry():
    with FakeRegistry() as fake, RegistryClient(credentials=AuthFiles([])) as client:
        next_page = {"Link": '</v2/team/app/tags/list?last=b>; rel="next"'}
        fake.faults["list?last=b"] = Fault(200, page("c")[0])
        fake.faults["tags/list"] = Fault(200, page("a", "b")[0], next_page)
        ref = parse(f"{fake.host}/team/app", default_tag=None)
        assert client.tags(ref) == ["a", "b", "c"]
        fake.faults.clear()
        with pytest.raises(NotFound, match=r"list of the tags of .*/team/app not found"):
            client.tags(ref)
