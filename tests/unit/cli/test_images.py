"""Image commands."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from runengine.errors import Conflict, NotFound
from tests.support.cli import call

NOW = 1_700_000_000.0
A, B, C = ("sha256:" + pair * 32 for pair in ("ab", "ac", "ad"))
D1, D2 = ("sha256:" + pair * 32 for pair in ("cd", "ce"))


def entry(image_id=A, tags=(), digests=(), created=NOW - 3 * 86400, size=123456789):
    return {
        "Id": image_id,
        "RepoTags": list(tags),
        "RepoDigests": list(digests),
        "Created": int(created),
        "Size": size,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    }


ENTRIES = [
    entry(A, ["debian:12", "debian:latest"], [f"debian@{D1}"]),
    entry(B, created=0, size=0),
    entry(C, ["localhost:5000/a/b:v1"], [f"localhost:5000/a/b@{D1}", f"other/b@{D2}"]),
]


class Images:
    """Answers and remembers."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def list(self, filters=None, usage=False):
        self.asked.append(filters)
        return ENTRIES

    def __getattr__(self, name):
        def answer(*args, **options):
            self.asked.append((name, args, options))
            result = self.answers[name]
            if isinstance(result, dict):
                result = result[args[0]]
            if isinstance(result, Exception):
                raise result
            return result

        return answer


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW)


def images(*words):
    return call("images", *words, images=Images()).stdout


def test_the_table_has_a_row_for_each_tag():
    assert images() == (
        "REPOSITORY           TAG       IMAGE ID       CREATED      SIZE\n"
        "debian               12        abababababab   3 days ago   123MB\n"
        "debian               latest    abababababab   3 days ago   123MB\n"
        "<none>               <none>    acacacacacac   N/A          0B\n"
        "localhost:5000/a/b   v1        adadadadadad   3 days ago   123MB\n"
        "other/b              <none>    adadadadadad   3 days ago   123MB\n"
    )


def test_digests_have_a_column():
    lines = images("--digests").splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[2] for line in lines[1:]] == [D1, D1, "<none>", D1, D2]


def test_quiet_and_full_ids():
    assert images("-q").split() == ["abababababab"] * 2 + ["acacacacacac"] + ["adadadadadad"] * 2
    assert images("-q", "--no-trunc").split()[0] == A


def test_formats():
    assert images("--format", "{{.Repository}}:{{.Tag}}").splitlines()[0] == "debian:12"
    assert images("--format", r"table {{.ID}}\t{{.Tag}}").startswith("IMAGE ID       TAG\nabab")
    row = json.loads(images("--format", "json").splitlines()[0])
    assert (row["VirtualSize"], row["Containers"], row["UniqueSize"]) == ("123.5MB", "N/A", "N/A")


def test_an_argument_is_a_reference_filter():
    manager = Images()
    call("images", "-f", "dangling=true", "debian", images=manager)
    assert manager.asked == [{"dangling": ["true"], "reference": ["debian"]}]


def test_pull_prints_the_name_and_plain_lines_where_there_is_no_terminal():
    class Registry:
        def pull(self, name, *, platform, progress, credentials):
            progress.line("latest: Pulling from library/debian")
            for count in (0, 5, 10):
                progress.layer("abababababab", "Downloading", count, 10)
            progress.layer(D1, "Pull complete", 10, 10)
            return SimpleNamespace(reference=f"docker.io/library/{name}:latest")

    assert call("pull", "-q", "debian", images=Registry()).stdout == (
        "docker.io/library/debian:latest\n"
    )


def test_pull_passes_the_platform_and_takes_all_tags():
    manager = Images(pull=SimpleNamespace(reference="x"), pull_all=[])
    call("pull", "-q", "--platform", "linux/arm64", "a/b:c", images=manager)
    assert manager.asked[0][2]["platform"] == "linux/arm64"
    result = call("pull", "-a", "x", images=manager)
    assert (result.exit_code, result.stdout) == (0, "docker.io/library/x\n")
    assert manager.asked[1][:2] == ("pull_all", ("x",))


def test_load_names_what_it_loaded(tmp_path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"")
    result = call("load", "-q", "-i", str(archive), images=Images(load=["debian:12", A]))
    assert result.stdout == f"Loaded image: debian:12\nLoaded image ID: {A}\n"


def test_load_says_which_file_it_cannot_read(tmp_path):
    result = call("load", "-i", str(tmp_path / "no"), images=Images())
    assert result.exit_code == 1
    assert f"cannot read {tmp_path}/no: No such file or directory" in result.stderr


def test_import_passes_changes_and_message(tmp_path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"")
    manager = Images(import_rootfs=A)
    words = ["-c", "CMD a", "--change=ENV b=c", "-m", "note", str(archive), "x:y"]
    assert call("import", *words, images=manager).stdout == f"{A}\n"
    _, args, options = manager.asked[0]
    assert args[1] == "x:y"
    assert options == {"changes": ["CMD a", "ENV b=c"], "message": "note", "platform": None}


def test_load_of_a_directory_passes_its_path(tmp_path):
    manager = Images(load=["debian:12"])
    call("load", "-q", "--platform", "linux/arm64", "-i", str(tmp_path), images=manager)
    _, args, options = manager.asked[0]
    assert args == (str(tmp_path),)
    assert options["platform"] == "linux/arm64"


def test_tag_says_nothing():
    manager = Images(tag="x")
    result = call("tag", "a", "b", images=manager)
    assert (result.exit_code, result.stdout) == (0, "")
    assert manager.asked == [("tag", ("a", "b"), {})]


def test_rmi_goes_on_after_an_error():
    manager = Images(
        remove={
            "a": [{"Untagged": "a:latest"}, {"Deleted": A}],
            "b": Conflict("image b is in use"),
            "c": NotFound("No such image: c"),
            "d": [{"Untagged": "d:1"}],
        }
    )
    result = call("rmi", "a", "b", "c", "d", images=manager)
    assert result.exit_code == 1
    assert result.stdout == f"Untagged: a:latest\nDeleted: {A}\nUntagged: d:1\n"
    assert result.stderr == "Error: image b is in use\nError: No such image: c\n"


def test_default_prints_the_image_s_id():
    assert call("image", "default", images=Images(ensure_default=A)).stdout == f"{A}\n"


def test_rmi_of_all_takes_every_name():
    manager = Images(remove=[{"Untagged": "x"}])
    assert call("rmi", "-a", images=manager).exit_code == 0
    names = [words[0] for verb, words, _ in manager.asked[1:] if verb == "remove"]
    assert names == [
        name for one in ENTRIES for name in one["RepoTags"] or [one["Id"]]
    ]
    for words in (["rmi"], ["rmi", "-a", "x"]):
        assert call(*words, images=manager).stderr.startswith("runengine: 'runengine rmi' ")


def test_rmi_need_not_mind_what_is_not_there():
    manager = Images(remove={"a": NotFound("No such image: a"), "b": Conflict("b is in use")})
    result = call("rmi", "-i", "a", images=manager)
    assert (result.exit_code, result.output) == (0, "")
    result = call("rmi", "--ignore", "a", "b", images=manager)
    assert (result.exit_code, result.stderr) == (1, "Error: b is in use\n")


def test_order_and_heading():
    titled = images().splitlines()
    assert images("-n").splitlines() == titled[1:]
    assert images("--sort", "repository", "--format", "{{.Repository}}").split() == sorted(
        images("--format", "{{.Repository}}").split()
    )
    result = call("images", "--sort", "weight", images=Images())
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot sort by 'weight' (one of created, id, " in result.stderr
