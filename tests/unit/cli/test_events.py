"""``events``: lines, formats, and what is asked of the engine."""

import json
import time

import pytest

from runengine.cli.events import line, renderer
from runengine.errors import InvalidParameter
from runengine.monitor.journal import message
from tests.support.cli import call

AT_NS = 1_767_225_600_000_000_042


@pytest.fixture(autouse=True)
def _in_india(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def one(kind="container", action="die", **attributes):
    document = message(kind, action, "c0ffee", {"image": "bb", "name": "box", **attributes})
    return {**document, "time": AT_NS // 10**9, "timeNano": AT_NS}


class FakeStream(list):
    def __enter__(self):
        return iter(self)

    def __exit__(self, *_):
        pass


class FakeSystem:
    def __init__(self, *messages, error=None):
        self.messages, self.error, self.asked = messages, error, None

    def subscribe_to_events(self, *args, on_gap):
        self.asked = args
        if self.error:
            raise self.error
        on_gap()
        return FakeStream(self.messages)


def test_the_line_is_dockers(monkeypatch):
    text = "container die c0ffee (exitCode=0, image=bb, name=box)"
    assert line(one(exitCode="0")) == f"2026-01-01T05:30:00.000000042+05:30 {text}"
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert line(one(exitCode="0")) == f"2026-01-01T00:00:00.000000042Z {text}"


def test_no_attributes_no_brackets():
    bare = {**one(), "Actor": {"ID": "x", "Attributes": {}}}
    assert line(bare).endswith("container die x")


def test_labels_cannot_write_to_the_terminal():
    text = line(one(evil="\x1b[2J\nfake line"))
    assert text.isprintable()
    assert "\\x1b[2J fake line" in text


def test_json_is_one_line_a_message():
    text = renderer("json")(one(b="2", a="1"))
    document = json.loads(text)
    assert document == one(b="2", a="1")
    assert list(document) == [
        *("status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano")
    ]
    assert list(document["Actor"]["Attributes"]) == ["a", "b", "image", "name"]
    assert renderer("{{json .}}")(one(b="2", a="1")) == text


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.Type}} {{.Action}} {{.Actor.ID}}", "container die c0ffee"),
        ("{{.Status}} {{.ID}} {{.From}} {{.Scope}}", "die c0ffee bb local"),
        ("{{.Time}} {{.TimeNano}}", f"{AT_NS // 10**9} {AT_NS}"),
        ("{{.Actor.Attributes.name}}", "box"),
        ('{{index .Actor.Attributes "name"}}{{index .Actor.Attributes "no"}}', "box"),
    ],
)
def test_templates_have_the_names_of_dockers_structure(form, text):
    assert renderer(form)(one()) == text


def test_an_image_has_an_empty_from():
    assert renderer("{{.From}}|")(one("image")) == "|"


def test_the_command_shows_what_comes():
    system = FakeSystem(one(), one(action="destroy"))
    done = call("events", "--format", "{{.Action}}", system=system)
    assert (done.exit_code, done.stdout) == (0, "die\ndestroy\n")
    assert system.asked == (None, None, {})
    assert "events were lost" in done.stderr


@pytest.mark.parametrize("command", [["events"], ["system", "events"]])
def test_the_command_asks_as_told(command):
    system = FakeSystem()
    words = ["--since", "1h", "--until", "5m", "-f", "type=container", "--filter", "label=a=b"]
    assert call(*command, *words, system=system).exit_code == 0
    assert system.asked == ("1h", "5m", {"type": ["container"], "label": ["a=b"]})


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--filter", "type"], 125, 'invalid argument "type" for "-f, --filter" flag'),
        (["extra"], 1, "'runengine events' accepts no arguments"),
        (["--format", "{{.Type"], 1, "template"),
        (["--format", "{{.Nosuch}}"], 1, "can't evaluate field Nosuch"),
        (["--nosuch"], 125, "unknown flag: --nosuch"),
    ],
)
def test_wrong_input(words, code, text):
    done = call("events", *words, system=FakeSystem(one()))
    assert done.exit_code == code
    assert text in done.stderr


@pytest.mark.parametrize(
    "form", ["{{.Nosuch}}", "{{.Actor.Nosuch}}", "{{json .Actor.Attributes.name.first}}"]
)
def test_a_format_that_fits_no_event_is_refused_before_one_comes(form):
    assert call("events", "--format", form, system=FakeSystem()).exit_code == 1


def test_the_fields_that_there_are_can_be_used():
    told = call("events", "--format", "{{.Nosuch}}", system=FakeSystem()).stderr
    names = told.partition("fields are: ")[2].rstrip(")\n").split(", ")
    assert "Actor" in names
    for name in names:
        assert renderer(f"{{{{.{name}}}}}")(one())


@pytest.mark.parametrize(
    "form",
    [
        "{{slice .ID 0 12}} {{slice .Actor.ID 0 12}}",
        "{{.Actor.Attributes.nosuch}}",
        "{{if eq .Type \"volume\"}}{{.Actor.Attributes.driver}}{{end}}",
    ],
)
def test_a_format_that_fits_some_events_is_taken(form):
    assert call("events", "--format", form, system=FakeSystem()).exit_code == 0


def test_what_the_engine_refuses_is_one_line():
    system = FakeSystem(error=InvalidParameter("invalid filter 'x'", resolution="filters are: y"))
    done = call("events", "-f", "x=1", system=system)
    assert (done.exit_code, done.stderr) == (1, "Error: invalid filter 'x' (filters are: y)\n")


def test_without_a_stream_they_end_with_now():
    system = FakeSystem()
    assert call("events", "--stream=false", system=system).exit_code == 0
    assert system.asked == (None, "0s", {})
    call("events", "--stream=false", "--until", "1h", system=system)
    assert system.asked == (None, "1h", {})
