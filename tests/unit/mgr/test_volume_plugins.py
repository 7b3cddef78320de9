"""Plugins that keep volumes: where they are, what they are asked, and those that do not answer."""

import json
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from runengine.errors import InvalidParameter, NotFound, TimedOut, Unavailable
from runengine.mgr.volume import adopt, plugin, plugin_calls
from runengine.mgr.volume.plugin_sockets import Sockets
from runengine.mgr.volume.request import volume_config

FAST_S = 0.3


class Plugin:
    """A plugin on a socket; ``answers`` has what it says, by method."""

    def __init__(self, directory, name):
        self.path = str(directory / f"{name}.sock")
        self.asked = []
        self.answers = {
            "Plugin.Activate": {"Implements": ["VolumeDriver"]},
            "VolumeDriver.Capabilities": {"Capabilities": {"Scope": "global"}},
        }
        self.raw = {}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        self._held = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._answer(connection)

    def _answer(self, connection):
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        method = head.split()[1].decode().strip("/")
        self.asked.append((method, json.loads(body)))
        if method in self.raw:
            reply = self.raw[method]
        else:
            text = json.dumps(self.answers.get(method, {"Err": ""})).encode()
            reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text
        if reply is None:  # hangs
            self._held.append(connection)
            return
        connection.sendall(reply)
        connection.close()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._held:
            connection.close()

    def calls(self):
        return [method for method, _ in self.asked if method != "Plugin.Activate"]


@pytest.fixture
def start(tmp_path):
    """Starts a plugin by name."""
    started = []

    def start_one(name):
        started.append(Plugin(tmp_path, name))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


@pytest.fixture
def good(start, tmp_path):
    made = start("good")
    (tmp_path / "mnt").mkdir()
    place = str(tmp_path / "mnt")
    made.answers["VolumeDriver.Mount"] = {"Mountpoint": place}
    made.answers["VolumeDriver.Get"] = {
        "Volume": {"Name": "data", "Mountpoint": place, "Status": {"disk": "full"}}
    }
    made.answers["VolumeDriver.List"] = {"Volumes": [{"Name": "data"}, {"Name": "../x"}, 3]}
    return made


@pytest.fixture
def volumes(context, monkeypatch, tmp_path):
    """A manager that finds plugins by their sockets in the test's directory."""
    monkeypatch.setattr(plugin, "sockets", lambda _: Sockets({}, str(tmp_path), ()))
    monkeypatch.setattr(adopt, "sockets", lambda _: Sockets({}, str(tmp_path), ()))
    monkeypatch.setattr(plugin, "LOOK_TIMEOUT_S", FAST_S)
    monkeypatch.setattr(plugin, "WORK_TIMEOUT_S", FAST_S)
    return context.volumes


def make(volumes, name="data", driver="good", **options):
    return volumes.create({**volume_config(name, driver), "DriverOpts": options})


def test_the_life_of_a_volume(volumes, good, tmp_path, add):
    volume = make(volumes, size="1g")
    assert volumes.get("data").scope == "global"
    assert ("VolumeDriver.Create", {"Name": "data", "Opts": {"size": "1g"}}) in good.asked
    record = add("one")
    assert volumes.hold(volume, record.id) == str(tmp_path / "mnt")
    assert good.asked[-1] == ("VolumeDriver.Mount", {"Name": "data", "ID": record.id})
    assert volumes.holds(["data"], record.id)
    volumes.release(["data"], record.id)
    assert good.asked[-1] == ("VolumeDriver.Unmount", {"Name": "data", "ID": record.id})
    shown = volumes.inspect("data")
    assert shown["Mountpoint"] == str(tmp_path / "mnt")
    assert (shown["Scope"], shown["Status"]) == ("global", {"disk": "full"})
    assert volumes.list(usage=True)[0]["UsageData"] == {"Size": -1, "RefCount": 0}
    volumes.remove("data")
    assert good.calls()[-1] == "VolumeDriver.Remove"


def test_its_own_words_are_told(volumes, good):
    good.answers["VolumeDriver.Create"] = {"Err": "no space on the array"}
    good.answers["VolumeDriver.Get"] = {"Err": "no such volume"}
    with pytest.raises(Unavailable, match=r"good: VolumeDriver\.Create: no space on the array"):
        make(volumes)
    assert not volumes.exists("data")


@pytest.mark.parametrize("place", [None, "", "relative", "/nonexistent/x", ["/"]])
def test_a_mount_must_be_somewhere(volumes, good, place):
    volume = make(volumes)
    good.answers["VolumeDriver.Mount"] = {"Mountpoint": place}
    with pytest.raises(Unavailable, match="data is mounted nowhere"):
        volumes.hold(volume, "1" * 64)
    assert not volumes.holds(["data"], "1" * 64)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "no HTTP"),
        (b"nonsense\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 500 x\r\n\r\nbroken", r"Create: broken"),
        (b'HTTP/1.1 500 x\r\n\r\n{"Err": "own words"}', r"Create: own words"),
        (b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 200 x\r\n\r\n[1]", "no JSON object"),
        (b"HTTP/1.1 200 x\r\n\r\nnot json", "no JSON object"),
    ],
)
def test_bad_answers(volumes, good, reply, words):
    good.raw["VolumeDriver.Create"] = reply
    with pytest.raises(Unavailable, match=words):
        make(volumes)


def test_chunks_are_put_together(volumes, good):
    good.raw["VolumeDriver.Create"] = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'8\r\n{"Err": \r\n3\r\n""}\r\n0\r\n\r\n'
    )
    assert make(volumes).name == "data"


def test_an_endless_answer_ends(volumes, good, monkeypatch):
    monkeypatch.setattr(plugin_calls, "MAX_ANSWER_BYTES", 100)
    good.raw["VolumeDriver.Create"] = b"HTTP/1.1 200 x\r\n\r\n" + b"x" * 200
    with pytest.raises(Unavailable, match="longer than 100 bytes"):
        make(volumes)


def test_one_that_hangs_keeps_nobody_from_others(volumes, good, start, context):
    hangs = start("hangs")
    for method in ("VolumeDriver.Create", "VolumeDriver.List", "VolumeDriver.Get"):
        hangs.raw[method] = None
    with pytest.raises(TimedOut, match=r"hangs: VolumeDriver\.Create: no answer"):
        make(volumes, "stuck", "hangs")
    assert [one["Name"] for one in volumes.list()] == ["data"]
    assert any("hangs: VolumeDriver.List: no answer" in text for text in volumes.notices)
    assert volumes.get("data").driver == "good"
    volumes.create(volume_config("own"))
    assert context.store.volumes.names() == {"data", "own"}


def test_what_only_a_plugin_knows_is_adopted_when_used(volumes, good, context):  # P-03, P-04
    assert [(one["Name"], one["Driver"]) for one in volumes.list()] == [("data", "good")]
    assert context.store.volumes.names() == set()
    assert volumes.get("data").driver == "good"
    assert context.store.volumes.names() == {"data"}
    good.answers["VolumeDriver.Get"] = {"Err": "no such volume"}
    with pytest.raises(NotFound):
        volumes.get("other")


def test_a_volume_whose_plugin_is_gone(volumes, good, tmp_path):
    make(volumes)
    Path(good.path).unlink()
    assert volumes.inspect("data")["Status"]["Error"].startswith("volume driver good not found")
    assert [one["Name"] for one in volumes.list()] == ["data"]
    with pytest.raises(NotFound, match=r"good\.sock"):
        volumes.remove("data")
    assert volumes.exists("data")
    volumes.remove("data", force=True)
    assert not volumes.exists("data")


def test_a_plugin_for_something_else(volumes, good):
    good.answers["Plugin.Activate"] = {"Implements": ["NetworkDriver"]}
    with pytest.raises(Unavailable, match="plugin good is no volume driver"):
        make(volumes)


def test_nobody_at_the_socket(volumes, tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(Unavailable, match="Connection refused"):
        make(volumes, driver="dead")


@contextmanager
def listening(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        yield


def test_where_plugins_are(tmp_path):
    run, etc = tmp_path / "run", tmp_path / "etc"
    (run / "two").mkdir(parents=True)
    etc.mkdir()
    (etc / "three.spec").write_text("unix:///somewhere/three.sock\n")
    (etc / "four.json").write_text('{"Name": "four", "Addr": "unix:///four"}')
    (etc / "five.spec").write_text("tcp://127.0.0.1:80")
    (etc / "six.json").write_text("{")
    places = Sockets({"named": "/own.sock"}, str(run), [str(etc), str(tmp_path / "nowhere")])
    with listening(run / "one.sock"), listening(run / "two/two.sock"):
        assert places.find("one") == str(run / "one.sock")
        assert places.find("two") == str(run / "two/two.sock")
        assert places.names() == ["five", "four", "named", "one", "six", "three", "two"]
    assert places.find("three") == "/somewhere/three.sock"
    assert places.find("four") == "/four"
    assert places.find("named") == "/own.sock"
    for name, error, words in [
        ("five", InvalidParameter, "not the address of a unix socket"),
        ("six", InvalidParameter, "has no Addr"),
        ("seven", NotFound, "volume driver seven not found"),
    ]:
        with pytest.raises(error, match=words):
            places.find(name)
