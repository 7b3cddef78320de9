"""What shows, checks and takes away images and the rest: tree, untag, gc, verify, prune, df."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from runengine.cli.context import App
from runengine.cli.main import program
from runengine.errors import NotFound
from runengine.mgr.container.prune import Pruned as PrunedContainers
from runengine.mgr.image.garbage import Garbage, Swept
from runengine.mgr.image.indexes import Offered
from runengine.mgr.image.prune import Pruned
from runengine.mgr.image.sharing import SharedLayer
from runengine.mgr.image.verify import Fault, Report
from runengine.mgr.volume.removal import Pruned as PrunedVolumes
from tests.support.cli import FakeEngine, call

NOW = 1_700_000_000.0
A, B, C = ("sha256:" + pair * 32 for pair in ("ab", "ac", "ad"))


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW)


def entry(image_id, *tags, size=3000, shared=1000, containers=0):
    return {
        "Id": image_id, "RepoTags": list(tags), "RepoDigests": [], "Created": int(NOW - 3600),
        "Size": size, "VirtualSize": size, "SharedSize": shared, "Containers": containers,
        "Labels": None,
    }  # fmt: skip


class Manager:
    """Answers by the name of the operation, and remembers."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __getattr__(self, name):
        def answer(*args, **options):
            self.asked.append((name, *args, options))
            result = self.answers[name]
            if isinstance(result, Exception):
                raise result
            return result(*args) if callable(result) else result

        return answer


# images --tree


def tree_manager():
    offers = [Offered("linux/amd64", A, "image", A), Offered("linux/arm64", C, "image", ""),
              Offered("", B, "attestation", "")]  # fmt: skip
    shared = SharedLayer("1" * 64, 1000, [A, B, C])
    return Manager(
        list=[entry(A, "app:1", "app:2", containers=2), entry(B, containers=1)],
        tree={A: [shared, SharedLayer("2" * 64, 2000, [A])], B: [shared._replace(size_bytes=-1)]},
        platforms={A: offers},
    )


def test_the_tree_shows_platforms_layers_and_who_shares_them():
    output = call("images", "--tree", images=tree_manager()).stdout
    lines = [line.split("   ") for line in output.splitlines()]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["IMAGE", "ID", "SIZE", "UNIQUE", "IN USE"],
        ["app:1, app:2", A[7:19], "3kB", "2kB", "2 containers"],
        ["├─ linux/amd64 (this image)", A[7:19]],
        ["├─ linux/arm64 (not here)", C[7:19]],
        ["├─ attestation (not here)", B[7:19]],
        ["├─ layer, shared with <untagged>, adadadadadad", "1" * 12, "1kB"],
        ["└─ layer", "2" * 12, "2kB", "2kB"],
        ["<untagged>", B[7:19], "3kB", "2kB", "1 container"],
        ["└─ layer, shared with app:1, adadadadadad", "1" * 12, "missing"],
    ]
    assert A in call("images", "--tree", "--no-trunc", images=tree_manager()).stdout


def test_names_by_digest_are_short_in_the_tree():
    one = entry(A) | {"RepoDigests": [f"app@{B}"]}
    manager = Manager(list=[one], tree={}, platforms={})
    assert f"app@{B[7:19]} " in call("images", "--tree", images=manager).stdout
    assert f"app@{B}" in call("images", "--tree", "--no-trunc", images=manager).stdout


@pytest.mark.parametrize("words", [("-q",), ("--digests",), ("--format", "json")])
def test_the_tree_stands_alone(words):
    result = call("images", "--tree", *words, images=tree_manager())
    assert (result.exit_code, "--tree cannot be used with" in result.stderr) == (1, True)


def test_shares_are_counted_when_a_template_names_them():
    manager = Manager(list=[entry(A, "app:1")])
    output = call("images", "--format", "{{.SharedSize}} {{.UniqueSize}}", images=manager).stdout
    assert output == "1kB 2kB\n"
    assert manager.asked == [("list", {}, {"usage": True})]


# untag, exists, rmi -f


def test_untag_says_nothing():
    manager = Manager(untag=["b:1"])
    assert call("image", "untag", "a", "b:1", images=manager).output == ""
    assert manager.asked == [("untag", "a", ("b:1",), {})]


def test_exists_tells_by_its_exit_code():
    codes = [
        call("image", "exists", "a", images=Manager(exists=answer)).exit_code
        for answer in (True, False)
    ]
    assert codes == [0, 1]


def test_forced_rmi_of_what_is_not_there_is_no_failure():
    result = call("rmi", "-f", "a", images=Manager(remove=NotFound("No such image: a")))
    assert (result.exit_code, result.stderr) == (0, "Error: No such image: a\n")


# gc


def test_gc_tells_what_it_would_take():
    found = [Garbage("layer", "1" * 64, 5_000_000), Garbage("partial", "2" * 64, 0)]
    manager = Manager(find_garbage=found)
    assert call("image", "gc", "--dry-run", images=manager).stdout == (
        f"    5MB  layer                {'1' * 64}\n"
        f"     0B  partial download     {'2' * 64}\n"
        "Reclaimable space: 5MB\n"
    )
    call("system", "gc", "-n", "-a", images=manager)
    assert [asked[-1]["everything"] for asked in manager.asked] == [False, True]


def test_gc_tells_what_went():
    manager = Manager(collect_garbage=Swept([A], ["1" * 64], 7000))
    assert call("image", "gc", images=manager).stdout == (
        f"deleted: {'1' * 64}\ndeleted: {A}\nTotal reclaimed space: 7kB\n"
    )


def test_gc_while_an_image_is_coming():
    result = call("image", "gc", images=Manager(collect_garbage=None))
    assert result.exit_code == 1
    assert "an image is being brought in" in result.stderr


# verify

FAULT = Fault("layer", "1" * 64, "app:1", "is wrong", ["a\nb is missing"], False, "repair it")


def verified(*faults):
    return Manager(verify=Report(1, 2, 3, list(faults)))


def test_verify_shows_faults_and_exits_by_them():
    result = call("image", "verify", "app:1", images=verified(FAULT))
    assert result.exit_code == 1
    assert result.stdout == (
        f"FAULT: layer {'1' * 64} of app:1: is wrong\n    a b is missing\n    -> repair it\n"
        "1 image, 2 blobs and 3 layers verified: 1 fault, 0 repaired\n"
    )
    repaired = FAULT._replace(repaired=True, remedy="unpacked again")
    result = call("image", "verify", "--repair", "-a", images=verified(repaired))
    assert result.exit_code == 0
    assert result.stdout.startswith("repaired: layer")
    result = call("image", "verify", "-a", images=verified())
    assert result.stdout == "1 image, 2 blobs and 3 layers verified: nothing is wrong\n"


def test_verify_as_json():
    document = json.loads(
        call("image", "verify", "a", "--format", "json", images=verified(FAULT)).stdout
    )
    assert (document["Clean"], document["Layers"]) == (False, 3)
    assert document["Faults"][0]["Details"] == ["a\nb is missing"]


@pytest.mark.parametrize("words", [(), ("--all", "app:1"), ("-a", "--format", "{{.Clean}}")])
def test_verify_refuses(words):
    assert call("image", "verify", *words, images=verified()).exit_code == 1


# prune


def managers():
    return {
        "containers": Manager(prune=PrunedContainers([A[7:]], 1000)),
        "networks": Manager(prune=["net"]),
        "images": Manager(
            prune=Pruned([{"Untagged": "a:1"}, {"Deleted": A}], 2000),
            prune_builds=8000,
            collect_garbage=Swept([], [], 16000),
        ),
        "volumes": Manager(prune=PrunedVolumes(["data"], 4000)),
    }


def test_container_and_image_prune():
    fakes = managers()
    assert call("container", "prune", "-f", "--filter", "until=1h", **fakes).stdout == (
        f"Deleted Containers:\n{A[7:]}\n\nTotal reclaimed space: 1kB\n"
    )
    assert fakes["containers"].asked == [("prune", {"until": ["1h"]}, {})]
    assert call("image", "prune", "-f", **fakes).stdout == (
        f"Deleted Images:\nuntagged: a:1\ndeleted: {A}\n\nTotal reclaimed space: 2kB\n"
    )
    call("image", "prune", "-a", "-f", **fakes)
    assert [asked[1] for asked in fakes["images"].asked] == [{}, {"dangling": ["false"]}]


def test_system_prune():
    fakes = managers()
    output = call("system", "prune", "--force", "--filter", "label=a", **fakes).stdout
    assert [line for line in output.splitlines() if line.startswith("Deleted")] == [
        "Deleted Containers:", "Deleted Networks:", "Deleted Images:"
    ]  # fmt: skip
    assert output.endswith("Total reclaimed space: 3kB\n")
    assert fakes["volumes"].asked == []
    output = call("system", "prune", "-af", "--volumes", **fakes).stdout
    assert "Deleted Volumes:\ndata\n" in output
    assert output.endswith("Total reclaimed space: 31kB\n")
    assert fakes["images"].asked[-3][1] == {"dangling": ["false"]}
    assert fakes["images"].asked[-1] == ("collect_garbage", {"everything": True})
    fakes["images"].answers["collect_garbage"] = None  # somebody is at work
    assert call("system", "prune", "-af", **fakes).stdout.endswith("Total reclaimed space: 11kB\n")
    fakes["images"].asked.clear()
    call("system", "prune", "-f", **fakes)
    call("system", "prune", "-af", "--filter", "label=a", **fakes)
    assert "collect_garbage" not in [asked[0] for asked in fakes["images"].asked]


def test_a_prune_during_a_pull_says_so():
    manager = Manager(prune=Pruned([{"Deleted": A}], None))
    result = call("image", "prune", "-f", images=manager)
    assert result.stdout.endswith("Total reclaimed space: 0B\n")
    assert "an image is being brought in" in result.stderr


def test_system_prune_with_until_spares_volumes():
    result = call("system", "prune", "-f", "--volumes", "--filter", "until=1h", **managers())
    assert (result.exit_code, '"until" filter' in result.stderr) == (1, True)


@pytest.mark.parametrize("kind", ["container", "image", "system"])
@pytest.mark.parametrize(("answer", "asked"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_prune_asks_first(kind, answer, asked):
    fakes = managers()
    words = [kind, "prune", *(["--volumes", "--filter", "label=x"] if kind == "system" else [])]
    app = App(lambda _: FakeEngine(**fakes))
    done = CliRunner().invoke(program, words, obj=app, input=answer)
    assert done.exit_code == 0
    assert done.output.startswith("WARNING! This will remove")
    assert ("anonymous volumes" in done.output, "- label=x" in done.output) == (
        kind == "system", kind == "system"
    )  # fmt: skip
    assert any(manager.asked for manager in fakes.values()) == bool(asked)


# df


def usage():
    def container(name, state, size):
        return {
            "Id": name * 64, "Image": "app:1", "ImageID": A, "Command": "sh", "State": state,
            "Status": "Up", "Created": NOW - 60, "Names": [f"/{name}"], "SizeRw": size,
            "SizeRootFs": 1, "Mounts": [], "Ports": [], "Labels": {},
        }  # fmt: skip

    return {
        "LayersSize": 4000,
        "Images": [entry(A, "app:1", containers=2), entry(B)],
        "Containers": [container("a", "running", 500), container("b", "exited", -1),
                       container("c", "exited", 1500)],
        "Volumes": [{"Name": "data", "UsageData": {"Size": -1, "RefCount": 1}},
                    {"Name": "old", "UsageData": {"Size": 3000, "RefCount": 0}}],
        "BuildCache": [{"ID": "builder", "Type": "regular", "Size": 900}],
        "Blobs": [{"ID": A, "Type": "blob", "Size": 100, "InUse": True},
                  {"ID": "1" * 64, "Type": "partial", "Size": 300, "InUse": False}],
        "Runengine": {"UnusedLayersSize": 1000},
    }  # fmt: skip


def test_df():
    manager = Manager(disk_usage=usage())
    assert call("system", "df", system=manager).stdout == (
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
        "Images          2         1         4kB       1kB (25%)\n"
        "Containers      3         1         2kB       1.5kB (75%)\n"
        "Local Volumes   2         1         3kB       3kB (100%)\n"
        "Build Cache     1         0         900B      900B (100%)\n"
        "Blobs           2         1         400B      300B (75%)\n"
    )
    template = "{{.Type}}={{.Reclaimable}}"
    output = call("system", "df", "--format", template, system=manager).stdout
    assert output.splitlines()[0] == "Images=1kB (25%)"
    assert len(call("system", "df", "--format", "json", system=manager).stdout.splitlines()) == 5


def test_df_verbose():
    manager = Manager(disk_usage=usage())
    output = call("system", "df", "-v", system=manager).stdout
    for line in (
        "app          1         abababababab   About an hour ago   3kB       1kB           2kB"
        "           2",
        "data          1         0B",
        "111111111111   partial   300B      no",
    ):
        assert line in output
    document = json.loads(call("system", "df", "-v", "--format", "json", system=manager).stdout)
    assert document["LayersSize"] == 4000
    assert call("system", "df", "-v", "--format", "{{.ID}}", system=manager).exit_code == 1
