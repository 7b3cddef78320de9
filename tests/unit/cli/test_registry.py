"""``push``, ``login``, ``logout``, ``search``, ``registry explain`` and ``artifact``."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import pytest

from runengine.errors import Unauthorized
from runengine.mgr.image.push import PushResult
from runengine.mgr.registry.artifact import Artifact, ArtifactFile, File
from runengine.mgr.registry.login import LoginResult
from runengine.mgr.registry.search import SearchResult
from tests.support.cli import call
from tests.unit.cli.test_network import Manager

KEPT = LoginResult("a.example", "/h/config.json", "", "")
DIGEST = "sha256:" + "ab" * 32


class Images:
    """Pushes, and remembers how."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def push(self, name: str, *, progress: Any, **options: Any) -> list[PushResult]:
        self.asked.append((name, options))
        progress.line("pushing")
        return [PushResult("docker.io/library/x:1", DIGEST, 5)]


def test_push() -> None:
    images = Images()
    found = call("push", "x", images=images)
    assert found.stdout == ""  # progress goes to the descriptor itself
    assert images.asked == [
        (
            "x",
            {
                "all_tags": False,
                "compression_format": None,
                "compression_level": None,
                "credentials": None,
            },
        )
    ]
    found = call(
        "image", "push", "-aq", "--compression-format=zstd", "--compression-level", "9", "x",
        images=images,
    )  # fmt: skip
    assert found.stdout == "docker.io/library/x:1\n"
    wanted = {"all_tags": True, "compression_format": "zstd", "compression_level": 9}
    assert images.asked[1] == ("x", {**wanted, "credentials": None})
    assert call("push", "--compression-level=x", "y", images=images).exit_code == 125


def test_push_says_which_tag_it_takes(capfd) -> None:
    call("push", "x", images=Images())
    call("push", "x:1", images=Images())
    call("push", "-a", "x", images=Images())
    assert capfd.readouterr().out.count("Using default tag: latest") == 1


def login(*args: str, stdin: str | None = None, **answers: Any) -> tuple[Any, list[Any]]:
    from click.testing import CliRunner

    from runengine.cli.context import App
    from runengine.cli.main import program
    from tests.support.cli import FakeEngine

    manager = Manager(**{"login": KEPT, "login_as_before": None, **answers})
    app = App(lambda _: FakeEngine(registries=manager))
    return CliRunner().invoke(program, ["login", *args], obj=app, input=stdin), manager.asked


def test_login_with_the_password_on_stdin() -> None:
    found, asked = login("-u", "bob", "--password-stdin", "a.example", stdin="se cret\r\n")
    assert asked == [("login", "a.example", "bob", "se cret")]
    assert found.stdout == "Login Succeeded\n"
    assert "stored unencrypted in /h/config.json" in found.stderr


def test_login_with_the_password_for_all_to_see() -> None:
    found, asked = login("-u", "bob", "-p", "x")
    assert asked == [("login", None, "bob", "x")]
    assert "--password via the CLI is insecure" in found.stderr
    helped, _ = login("-u", "bob", "-p", "x", login=KEPT._replace(helper="docker-credential-x"))
    assert "unencrypted" not in helped.stderr
    hidden, _ = login("-u", "bob", "-p", "x", login=KEPT._replace(hidden_by="/etc/other"))
    assert "/etc/other has other credentials for a.example" in hidden.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--password-stdin"], "Must provide --username"),
        (["--password-stdin", "-u", "x", "-p", "y"], "mutually exclusive"),
        (["-u", "x"], "non TTY"),
        ([], "non TTY"),
    ],
)
def test_logins_that_cannot_be(args, words) -> None:
    found, asked = login(*args, stdin="")
    assert found.exit_code == 1
    assert words in found.stderr
    assert not [one for one in asked if one[0] == "login"]


def test_login_as_before() -> None:
    found, asked = login(login_as_before="bob")
    assert found.stdout == "Authenticated with existing credentials of bob\nLogin Succeeded\n"
    assert asked == [("login_as_before", None)]
    found, _ = login(login_as_before=Unauthorized("expired"))
    assert "Login did not succeed: expired" in found.stderr


def test_logout() -> None:
    for was_in, words in ((True, "Removing login credentials for"), (False, "Not logged in to")):
        manager = Manager(logout=("a.example", was_in))
        found = call("logout", "a.example", registries=manager)
        assert (found.stdout, found.exit_code) == (f"{words} a.example\n", 0)


ENTRY = {
    "name": "a.example/x",
    "description": "a long description " * 5,
    "star_count": 12,
    "is_official": True,
    "is_automated": False,
}


def test_search() -> None:
    manager = Manager(search=SearchResult([ENTRY], ""))
    found = call("search", "--limit=5", "-f", "stars=3", "x", registries=manager)
    wanted = {"limit": 5, "filters": {"stars": ["3"]}, "credentials": None}
    assert manager.asked == [("search", "x", wanted)]
    title, row = found.stdout.splitlines()
    assert title.split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert row.split()[0] == "a.example/x"
    assert row.endswith("12        [OK]")
    assert "\u2026" in row
    full = call("search", "--no-trunc", "x", registries=manager)
    assert "\u2026" not in full.stdout
    form = "{{.Name}} {{.StarCount}} {{.IsOfficial}}"
    assert call("search", "--format", form, "x", registries=manager).stdout == (
        "a.example/x 12 [OK]\n"
    )


def test_a_search_says_where_names_come_from() -> None:
    found = call("search", "x", registries=Manager(search=SearchResult([], "from the catalog")))
    assert "from the catalog" in found.stderr


def test_explain(tmp_path) -> None:
    from runengine.config import defaults
    from runengine.mgr.registry.manager import RegistryMgr
    from runengine.paths import Paths

    registries = RegistryMgr(defaults(Paths(str(tmp_path), str(tmp_path))))
    found = call("registry", "explain", "localhost:5000/x", registries=registries)
    assert "1. registry: it is in the name\n   http://localhost:5000/v2/x/manifests/latest\n" in (
        found.stdout
    )
    assert "not checked" in found.stdout
    as_json = call("registry", "explain", "--format=json", "x", registries=registries)
    assert json.loads(as_json.stdout)["Reference"] == "docker.io/library/x:latest"
    form = call("registry", "explain", "--format", "{{.Reference}}", "x", registries=registries)
    assert form.stdout == "docker.io/library/x:latest\n"


def test_artifacts(tmp_path) -> None:
    odd = tmp_path / "a:b" / "c"
    odd.parent.mkdir()
    odd.touch()
    listed = ArtifactFile("f", "text/plain", DIGEST, 2000)  # type: ignore[arg-type]
    found = Artifact("a.example/x:1", DIGEST, "t/y", {}, [listed])
    asked: list[Any] = []

    def answer(*args: Any, **options: Any) -> Artifact:
        asked.append((args, options))
        return found

    manager = SimpleNamespace(push_artifact=answer, pull_artifact=answer, show_artifact=answer)
    words = ["x", "f:text/plain", str(odd), "g", "--artifact-type=t/y", "--annotation", "a=b=c"]
    pushed = call("artifact", "push", "-q", *words, registries=manager)
    assert pushed.stdout == f"a.example/x:1@{DIGEST}\n"
    (name, files), options = asked[0]
    assert (name, files) == ("x", [File("f", "text/plain"), File(str(odd)), File("g")])
    assert options["annotations"] == {"a": "b=c"}
    call("artifact", "pull", "-q", "-o", "/out", "x", registries=manager)
    assert asked[1][0] == ("x", "/out")
    rows = call("artifact", "ls", "x", registries=manager).stdout.splitlines()
    assert rows[1].split() == ["f", "text/plain", "2kB", DIGEST]
    wrong = call("artifact", "push", "x", "f", "--annotation", "a", registries=manager)
    assert "invalid annotation" in wrong.stderr


def test_the_tags_of_a_repository() -> None:
    manager = Manager(tags=("a.example/x", ["1", "2"]))
    found = call("search", "--list-tags", "a.example/x", registries=manager)
    assert [line.split() for line in found.stdout.splitlines()] == [
        ["NAME", "TAG"],
        ["a.example/x", "1"],
        ["a.example/x", "2"],
    ]
    assert manager.asked == [("tags", "a.example/x", {"credentials": None})]
    found = call("search", "--list-tags", "--filter", "stars=1", "x", registries=manager)
    assert (found.exit_code, found.stdout) == (1, "")


def test_how_a_registry_is_asked_in_one_call(tmp_path, monkeypatch) -> None:
    from click.testing import CliRunner

    from runengine.cli.context import App
    from runengine.cli.main import program
    from tests.support.cli import FakeEngine

    monkeypatch.setenv("REGISTRY_AUTH_FILE", "before")
    (tmp_path / "auth.json").write_text("{}")
    images = Images()
    app = App(lambda _: FakeEngine(images=images))
    words = ["--tls-verify=false", "--creds", "bob:p:w", f"--authfile={tmp_path}/auth.json"]
    found = CliRunner().invoke(program, ["push", "-q", *words, "a.example:5000/x"], obj=app)
    assert (found.exit_code, found.stderr) == (0, "")
    assert app.insecure == ("a.example:5000",)
    assert os.environ["REGISTRY_AUTH_FILE"] == f"{tmp_path}/auth.json"
    given = images.asked[0][1]["credentials"].find("a.example:5000", "x")
    assert (given.username, given.password) == ("bob", "p:w")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--creds", "bob"], "invalid --creds: give USERNAME:PASSWORD"),
        (["--creds", ":pw"], "invalid --creds: give USERNAME:PASSWORD"),
        (["--authfile", "/nowhere/auth.json"], "cannot read the authentication file /nowhere"),
    ],
)
def test_credentials_that_cannot_be(words, complaint) -> None:
    for verb in ("pull", "push", "search"):
        found = call(verb, *words, "a.example/x", images=Images())
        assert found.exit_code == 1
        assert found.stderr.startswith(f"Error: {complaint}")
