"""``inspect`` over containers, images, networks and volumes."""

from __future__ import annotations

import json

import pytest

from runengine.errors import AmbiguousName, NotFound
from tests.support.cli import call

BOX = {
    "Id": "c" * 64,
    "Name": "/box",
    "Config": {"Labels": {"a": "b"}, "Entrypoint": None},
    "HostConfig": {"LogConfig": {"Type": "cri", "Config": {}}, "Binds": None, "PidsLimit": None},
    "NetworkSettings": {"Networks": {"none": {}}, "Ports": {}},
    "State": {"ExitCode": None},
}
IMAGE = {"Id": "sha256:" + "a" * 64, "RepoTags": ["debian:12"], "Config": {"Env": ["A=é"]}}


class Objects:
    def __init__(self, kind, **known):
        self.kind, self.known = kind, known

    def inspect(self, name, size=False, platform=None):
        self.platform = platform
        if name == "many":
            raise AmbiguousName("many matches several containers")
        if name not in self.known:
            raise NotFound(f"No such {self.kind}: {name}")
        return {**self.known[name], **({"SizeRw": 7} if size else {})}


def inspect(*words, group=()):
    managers = {
        "containers": Objects("container", box=BOX, both=BOX),
        "images": Objects("image", debian=IMAGE, both=IMAGE),
        "networks": Objects("network"),
        "volumes": Objects("volume"),
    }
    return call(*group, "inspect", *words, **managers)


def test_an_image_is_shown_for_a_platform():
    images = Objects("image", debian=IMAGE)
    call("image", "inspect", "--platform", "linux/arm64", "debian", images=images,
         containers=None, networks=None, volumes=None)  # fmt: skip
    assert images.platform == "linux/arm64"


def test_documents_are_an_indented_list():
    text = inspect("box", "debian").stdout
    assert json.loads(text) == [BOX, IMAGE]
    assert text.startswith('[\n    {\n        "Id": "ccc')
    assert "A=é" in text


def test_json_is_one_line():
    assert inspect("-f", "json", "box").stdout.count("\n") == 1


def test_what_is_missing_is_told_after_what_was_found():
    result = inspect("-f", "{{.Id}}", "nope", "debian", "many")
    assert (result.exit_code, result.stdout) == (1, f"{IMAGE['Id']}\n")
    assert result.stderr.splitlines() == [
        "Error: No such object: nope",
        "Error: many matches several containers",
    ]
    assert inspect("nope").stdout == "[]\n"


def test_a_container_goes_before_an_image():
    assert inspect("-f", "{{.Name}}", "both").stdout == "/box\n"


@pytest.mark.parametrize(
    ("group", "words", "error"),
    [
        ((), ("--type", "container", "debian"), "No such container: debian"),
        ((), ("--type=image", "box"), "No such image: box"),
        (("container",), ("debian",), "No such container: debian"),
        (("image",), ("box",), "No such image: box"),
        ((), ("--type", "plugin", "box"), 'unknown type: "plugin": must be one of'),
    ],
)
def test_only_the_asked_for_type_is_looked_at(group, words, error):
    result = inspect(*words, group=group)
    assert result.exit_code == 1
    assert error in result.stderr


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("{{.Config.Labels.a}} {{.Config.Labels.z}}", "b <no value>"),
        ("{{index .Config.Labels `z`}}|{{.HostConfig.LogConfig.Config.x}}", "|<no value>"),
        ("{{.Config.Entrypoint}}{{.HostConfig.Binds}} {{.HostConfig.PidsLimit}}", "[][] <nil>"),
        ("{{.SizeRw}} {{.State.ExitCode}}", "<nil> <nil>"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{json .State.Health}} {{.State.Health}} {{.Config.Healthcheck}}", "null <nil> <nil>"),
        ("{{.HostConfig.StorageOpt}} {{json .HostConfig.Links}}", "map[] null"),
        ("{{.Config.NetworkDisabled}}{{.Config.MacAddress}}", "false"),
        ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}", "none"),
        (r"{{.Name}}\t", r"/box\t"),
    ],
)
def test_templates_see_docker_s_types(form, shown):
    assert inspect("-f", form, "box").stdout == f"{shown}\n"


def test_size():
    assert inspect("-s", "-f", "{{.SizeRw}}", "box").stdout == "7\n"
    assert "SizeRw" not in inspect("box").stdout


def test_a_field_that_is_not_there_is_an_error():
    result = inspect("-f", "{{.Nope}}", "box")
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'map has no entry for key "Nope"' in result.stderr
