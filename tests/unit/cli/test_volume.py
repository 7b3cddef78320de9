"""The commands of ``volume``."""

import json
import os
from types import SimpleNamespace

import pytest

from runengine.errors import Conflict, NotFound
from runengine.mgr.volume.removal import Pruned
from tests.support.cli import call


def entry(name, **fields):
    return {
        "CreatedAt": "2026-01-01T00:00:00Z",
        "Driver": "local",
        "Labels": {},
        "Mountpoint": f"/volumes/{name}/_data",
        "Name": name,
        "Options": {},
        "Scope": "local",
        **fields,
    }


class Volumes:
    """A manager that notes what it is asked."""

    def __init__(self, *known):
        self.known = {one["Name"]: one for one in known}
        self.asked = []

    def create(self, config):
        self.asked.append(config)
        return SimpleNamespace(name=config["Name"] or "f" * 64)

    def list(self, filters=None):
        self.asked.append(filters)
        return list(self.known.values())

    def exists(self, name):
        return name in self.known

    def inspect(self, name):
        if name not in self.known:
            raise NotFound(f"no such volume: {name}")
        return self.known[name]

    def remove(self, name, *, force):
        if name == "used":
            raise Conflict("remove used: volume is in use by box (0123456789ab)")
        if name not in self.known and not force:
            raise NotFound(f"no such volume: {name}")

    def prune(self, filters):
        self.asked.append(filters)
        return Pruned(["one", "two"], 1234567)


def volume(*words, known=(), stdin=None):
    manager = Volumes(*known)
    return call("volume", *words, volumes=manager), manager


def test_create_says_the_name():
    done, manager = volume(
        "create", "-d", "nfs", "-o", "type=nfs", "--opt", "o=addr=h,rw", "--label", "a=b",
        "--label", "c", "data",
    )
    assert done.output == "data\n"
    assert manager.asked == [{
        "Name": "data",
        "Driver": "nfs",
        "DriverOpts": {"type": "nfs", "o": "addr=h,rw"},
        "Labels": {"a": "b", "c": ""},
    }]
    assert volume("create")[0].output == "f" * 64 + "\n"
    assert volume("create", "--name", "old")[0].output == "old\n"
    done, _ = volume("create", "--name", "one", "two")
    assert "both --name and as a positional arg" in done.stderr


def test_ls_as_docker_has_it():
    known = [entry("data"), entry("x", Driver="nfs", Labels={"b": "2", "a": "1"})]
    done, manager = volume("ls", "-f", "dangling=true", known=known)
    assert done.output == "DRIVER    VOLUME NAME\nlocal     data\nnfs       x\n"
    assert manager.asked == [{"dangling": ["true"]}]
    assert volume("ls", "-q", known=known)[0].output == "data\nx\n"
    done, _ = volume("ls", "--format", "{{.Name}} {{.Labels}} {{.Label \"a\"}} {{.Size}}",
                     known=known)
    assert done.output == "data   N/A\nx a=1,b=2 1 N/A\n"
    done, _ = volume("ls", "--format", "json", known=known[:1])
    assert json.loads(done.output)["Mountpoint"] == "/volumes/data/_data"


def test_inspect_and_exists():
    done, _ = volume("inspect", "-f", "{{.Mountpoint}}", "data", "nope", known=[entry("data")])
    assert done.stdout == "/volumes/data/_data\n"
    assert (done.exit_code, done.stderr) == (1, "Error: no such volume: nope\n")
    assert volume("exists", "data", known=[entry("data")])[0].exit_code == 0
    assert volume("exists", "data")[0].exit_code == 1


def test_rm_of_all():
    result, _ = volume("rm", "--all", known=(entry("data"), entry("more")))
    assert (result.exit_code, result.stdout) == (0, "data\nmore\n")
    for words in (["rm"], ["rm", "-a", "data"]):
        result, _ = volume(*words)
        assert result.stderr.startswith("runengine: 'runengine volume rm' ")


def test_an_archive_goes_out_and_comes_in(tmp_path):
    class Archives(Volumes):
        def get(self, name):
            return self.inspect(name)

        def export(self, name, target):
            os.write(target, f"files of {name}".encode())

        def import_from(self, name, source):
            self.asked.append((name, source.read()))

    manager = Archives(entry("data"))
    path = str(tmp_path / "data.tar")
    assert call("volume", "export", "-o", path, "data", volumes=manager).exit_code == 0
    assert call("volume", "import", "data", path, volumes=manager).exit_code == 0
    assert manager.asked == [("data", b"files of data")]
    for words in (["export", "-o", f"{path}.new", "more"], ["import", "more", path]):
        result = call("volume", *words, volumes=manager)
        assert (result.exit_code, result.stderr) == (1, "Error: no such volume: more\n")
    assert os.listdir(tmp_path) == ["data.tar"]
    result = call("volume", "import", "data", "/nowhere.tar", volumes=manager)
    assert result.stderr == "Error: cannot open /nowhere.tar: No such file or directory\n"


def test_rm_tries_all():
    done, _ = volume("rm", "used", "nope", "data", known=[entry("data")])
    assert (done.exit_code, done.stdout) == (1, "data\n")
    assert done.stderr.splitlines() == [
        "Error: remove used: volume is in use by box (0123456789ab)",
        "Error: no such volume: nope",
    ]
    assert volume("rm", "-f", "nope")[0].output == "nope\n"


@pytest.mark.parametrize(
    ("words", "filters"),
    [
        (["-f"], {}),
        (["-f", "-a"], {"all": ["true"]}),
        (["-f", "--filter", "all=1", "--filter", "label=x"], {"all": ["1"], "label": ["x"]}),
    ],
)
def test_prune(words, filters):
    done, manager = volume("prune", *words)
    assert done.output == (
        "Deleted Volumes:\none\ntwo\n\nTotal reclaimed space: 1.235MB\n"
    )
    assert manager.asked == [filters]


def test_prune_asks_first():
    done, manager = volume("prune")
    assert "remove anonymous local volumes not used by" in done.output
    assert manager.asked == []
    done, manager = volume("prune", "--all")
    assert "remove all volumes not used by" in done.output
    done, _ = volume("prune", "--all", "--filter", "all=1")
    assert "cannot specify both --all" in done.stderr
