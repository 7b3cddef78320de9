"""Docker's client configuration file: what it says of formats, proxies and detach keys."""

from __future__ import annotations

import json

import pytest

from runengine.cli import client_config, run_flags
from runengine.monitor import detach
from tests.support.cli import call


class Listed:
    def __init__(self, *entries):
        self.entries = entries

    def list(self, *_filters, **_options):
        return self.entries


VOLUMES = Listed({"Name": "data", "Driver": "local", "Mountpoint": "/x", "Labels": {}})


@pytest.fixture
def say(tmp_path, monkeypatch):
    """Writes the file."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(document):
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / "config.json").write_text(text)

    return write


def volumes(*words):
    return call("volume", "ls", *words, volumes=VOLUMES)


def test_formats_of_lists(say):
    titled = volumes().stdout
    assert "DRIVER" in titled
    say({"volumesFormat": "<{{.Name}}>", "psFormat": 1})
    assert volumes().stdout == "<data>\n"
    assert volumes("--format", "{{.Driver}}").stdout == "local\n"
    quiet = volumes("-q")
    assert (quiet.stdout, quiet.stderr) == ("data\n", "")
    assert call("ps", containers=Listed()).stdout.startswith("CONTAINER ID")


def test_proxies_come_in_both_spellings_and_under_the_user_s_own(say):
    assert client_config.beside(["A=b"]) == ["A=b"]
    say({"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "localhost", "x": "y"}}})
    assert client_config.beside(["A=b", "NO_PROXY=mine", "http_proxy"]) == [
        "HTTP_PROXY=http://p:1",
        "no_proxy=localhost",
        "A=b",
        "NO_PROXY=mine",
        "http_proxy",
    ]


def test_logins_are_offered_where_a_registry_is_named(say):
    say({"auths": {"b.example": {}, "a.example:5000": {"auth": "eA=="}}})
    offered = call("__complete", "--", "logout", "").stdout
    assert offered == "a.example:5000\tlogged in\nb.example\tlogged in\n"
    say({"auths": 1})
    assert call("__complete", "--", "logout", "").stdout == ""


def test_detach_keys(say):
    assert run_flags.detach_keys(None) == detach.DEFAULT
    say({"detachKeys": "ctrl-e,e"})
    assert run_flags.detach_keys(None) == detach.parse("ctrl-e,e")
    assert run_flags.detach_keys("ctrl-x") == detach.parse("ctrl-x")


@pytest.mark.parametrize("text", ["[1]", '{"proxies": []}', '{"proxies": {"default": 1}}', "{}"])
def test_other_shapes_say_nothing(say, text):
    say(text)
    assert client_config.proxies() == {}
    assert client_config.text_of("psFormat") is None


def test_a_damaged_file_is_told_and_keeps_nothing_from_its_work(say):
    say("{")
    result = volumes()
    assert "config.json is not read" in result.stderr
    assert (result.exit_code, "data" in result.stdout) == (0, True)
