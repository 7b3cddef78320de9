"""Contexts and Dockerfiles, from wherever they come."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runengine.errors import InvalidParameter, Unavailable
from runengine.mgr.building import building, context
from runengine.mgr.building.request import BuildRequest


@pytest.fixture
def prepare(tmp_path):
    (tmp_path / "work").mkdir()

    def call(where, dockerfile="", stdin=b""):
        request = BuildRequest(str(where), dockerfile)
        return context.prepare(request, str(tmp_path / "work"), io.BytesIO(stdin))

    return call


def test_a_directory_with_a_dockerfile_or_a_containerfile(prepare, tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Containerfile").write_text("FROM a")
    assert prepare(folder) == (str(folder), f"{folder}/Containerfile")
    (folder / "Dockerfile").write_text("FROM a")
    assert prepare(folder) == (str(folder), f"{folder}/Dockerfile")


def test_a_named_file_is_looked_for_here_and_then_in_the_context(prepare, tmp_path, monkeypatch):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "other").write_text("FROM a")
    monkeypatch.chdir(tmp_path)
    assert prepare("context", "other")[1] == f"{folder}/other"
    (tmp_path / "other").write_text("FROM b")
    assert prepare("context", "other")[1] == f"{tmp_path}/other"


def test_stdin_is_a_dockerfile(prepare, tmp_path):
    where, dockerfile = prepare("-", stdin=b"FROM a\n")
    assert Path(dockerfile).read_text() == "FROM a\n"
    assert where == f"{tmp_path}/work/context"


def test_a_dockerfile_on_stdin_with_a_context(prepare, tmp_path):
    where, dockerfile = prepare(tmp_path, "-", stdin=b"FROM a\n")
    assert where == str(tmp_path)
    assert Path(dockerfile).read_text() == "FROM a\n"


def test_an_address_is_left_to_the_builder(prepare):
    assert prepare("https://example.com/x.git", "D") == ("https://example.com/x.git", "D")


@pytest.mark.parametrize(
    ("where", "dockerfile", "stdin", "says"),
    [
        ("/nonexistent", "", b"", "there is no directory /nonexistent"),
        (".", "nope", b"", "there is no nope in"),
        ("-", "-", b"x", "both context and Dockerfile"),
        ("-", "", b"", "nothing on stdin"),
        ("-", "", b"#" * (2 << 20), "more than"),
        ("http://h/x", "-", b"", "needs a directory"),
    ],
)
def test_what_cannot_be_built_from(prepare, where, dockerfile, stdin, says):
    with pytest.raises(InvalidParameter, match=says):
        prepare(where, dockerfile, stdin)


def test_an_unknown_builder_and_none_at_all(monkeypatch):
    with pytest.raises(InvalidParameter, match="unknown builder 'make'"):
        building.find_builder("make")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="no builder is installed") as caught:
        building.find_builder("")
    assert caught.value.resolution == "apt-get install buildah"
