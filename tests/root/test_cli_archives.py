"""save, load, export, commit, diff, history and build as users type them."""

from __future__ import annotations

import json
import subprocess
import tarfile
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from threading import Thread

import pytest

from tests.support import needs

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


def test_saved_to_stdout_and_loaded_from_stdin(cli, tmp_path):
    with (tmp_path / "archive").open("wb") as file:
        save = cli.begin("save", "busybox", stdout=file)
        assert save.wait(60) == 0
    data = (tmp_path / "archive").read_bytes()
    assert cli.ok("load", "-q", stdin=data) == "Loaded image: busybox:latest"
    assert cli.ok("save", "-o", str(tmp_path / "again"), "busybox") == ""
    assert (tmp_path / "again").read_bytes() == data


def test_a_failed_save_leaves_the_old_file(cli, tmp_path):
    target = tmp_path / "archive"
    target.write_text("old")
    done = cli.call("save", "-o", str(target), "busybox", "nope:1")
    assert (done.code, done.out) == (1, "")
    assert "No such image: nope:1" in done.err
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    wrong = [(tmp_path, "is a directory"), (tmp_path / "no/x", "there is no directory")]
    wrong.append(("/dev/full", "cannot write /dev/full: No space left"))
    for where, says in wrong:
        done = cli.call("save", "-o", str(where), "busybox")
        assert done.code == 1
        assert says in done.err


def test_a_container_becomes_an_image(cli, tmp_path):
    cli.ok("run", "--name", "box", "busybox", "sh", "-c", "echo x > /new; rm /bin/vi")
    assert cli.ok("diff", "box") == "C /bin\nD /bin/vi\nA /new"
    assert json.loads(cli.ok("diff", "--format", "json", "box"))["deleted"] == ["/bin/vi"]
    words = ("-a", "me", "-m", "why", "-c", "CMD cat /new", "box", "made:1")
    image = cli.ok("commit", *words)
    assert image.startswith("sha256:")
    assert cli.ok("run", "--rm", "made:1") == "x"
    form = "{{.ID}} {{.Comment}} {{.CreatedBy}}"
    newest = cli.ok("history", "--no-trunc", "--format", form, "made:1").splitlines()[0]
    assert newest == f"{image} why sh -c echo x > /new; rm /bin/vi"
    assert cli.ok("history", "-q", "made:1").split()[0] == image[7:19]
    assert cli.ok("diff", "made:1") == "C /bin\nD /bin/vi\nA /new"
    target = tmp_path / "box.tar"
    assert cli.ok("export", "-o", str(target), "box") == ""
    with tarfile.open(target) as archive:
        content = archive.extractfile("new")
        assert content is not None
        assert content.read() == b"x\n"
    with cli.begin("export", "box", stdout=subprocess.PIPE) as export:
        assert export.communicate()[0] == target.read_bytes()
    assert cli.ok("import", "--platform", "linux/arm64", str(target), "flat:1").startswith("sha")
    assert cli.ok("image", "inspect", "--format", "{{.Architecture}}", "flat:1") == "arm64"
    cli.clear()
    cli.ok("rmi", "-f", "made:1", "flat:1")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("commit", "nobody"), "No such container: nobody"),
        (("commit", "nobody", "Not Valid"), "No such container: nobody"),
        (("export", "nobody"), "No such container: nobody"),
        (("diff", "nobody"), "No such container: nobody"),
        (("diff", "--format", "x", "nobody"), "unknown format 'x'"),
        (("history", "nobody"), "No such image: nobody"),
        (("load", "-i", "/nonexistent"), "cannot read /nonexistent"),
        (("import", "http://127.0.0.1:1/x"), "cannot fetch http://127.0.0.1:1/x"),
        (("build", "/nonexistent"), "there is no directory /nonexistent"),
        (("build", "--builder", "make", "."), "unknown builder 'make'"),
    ],
)
def test_what_cannot_be_done_is_said(cli, words, says):
    done = cli.call(*words)
    assert (done.code, done.out) == (1, "")
    assert says in done.err


class Quiet(SimpleHTTPRequestHandler):
    """A web server that does not say who asks."""

    def log_message(self, *_):
        return


def test_a_root_filesystem_from_a_web_server(cli, busybox_tar):
    handler = partial(Quiet, directory=str(busybox_tar.parent))
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/{busybox_tar.name}"
            cli.ok("import", address, "web:1")
            done = cli.call("import", f"{address}.nope", "web:2")
            assert "404" in done.err
        finally:
            server.shutdown()
            thread.join()
    assert cli.ok("run", "--rm", "web:1", "echo", "x") == "x"
    cli.ok("rmi", "-f", "web:1")


def test_an_archive_that_is_cut_short_leaves_nothing(cli):
    with cli.begin("save", "busybox", stdout=subprocess.PIPE) as save:
        data = save.communicate()[0]
    before = cli.ok("images", "-q", "-a")
    done = cli.call("load", stdin=data[: len(data) // 2])
    assert done.code == 1
    assert "truncated" in done.err
    assert cli.ok("images", "-q", "-a") == before
