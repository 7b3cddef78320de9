"""A sample of random command lines: what the engine does not refuse, runc takes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from runengine.cgroups import features, limits, machine
from runengine.errors import EngineError
from runengine.linux import devices
from runengine.oci_spec import runtime, user_mounts, users, validate
from runengine.oci_spec.build import build_spec
from runengine.oci_spec.env import merge_env
from tests.support import flag_strategies, needs
from tests.support.box import HERE, Box
from tests.support.trees import GROUP, PASSWD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "busybox")]

SOURCE = "/var/empty-of-the-test"
SAMPLE = 25


@pytest.fixture
def box(tmp_path: Path, busybox_tar: Path) -> Iterator[Box]:
    made = Box(tmp_path, busybox_tar)
    (tmp_path / "source").mkdir()
    yield made
    made.clear()


def spec_of(box: Box, words: list[str]) -> dict[str, Any] | None:
    """The spec for these flags on this host; None where the engine refuses them."""
    source = str(box.base / "source")
    try:
        wanted = flag_strategies.request([word.replace(SOURCE, source) for word in words])
        host, _ = validate.discard_unsupported(wanted.host, HERE)
        validate.check(wanted.config, host, HERE)
        host = limits.check(host, features.probe(), machine=machine.probe()).host
        user = users.resolve_user(wanted.config["User"], PASSWD, GROUP, host["GroupAdd"])
    except EngineError:
        return None
    facts = box.facts(
        host,
        ["/bin/sleep", "100"],
        user="",
        env=merge_env([], wanted.config["Env"]),
        cwd=wanted.config["WorkingDir"],
        mounts=user_mounts.resolve_all(host),
        devices=[
            entry
            for one in host["Devices"]
            for entry in devices.entries(
                one["PathOnHost"], one["PathInContainer"], one["CgroupPermissions"]
            )
        ],
    )
    facts.user = user
    spec = build_spec(wanted.config, host, facts)
    runtime.Spec.model_validate(spec)
    return spec


def accepted(box: Box, spec: dict[str, Any]) -> str:
    """What runc has against it; nothing if it makes the container."""
    box.write(spec)
    log, null = box.base / "log", subprocess.DEVNULL
    log.write_text("")
    base = ["runc", "--root", f"{box.base}/runc", "--log", str(log)]
    done = subprocess.run(
        [*base, "create", "-b", box.base, box.name], stdin=null, stdout=null, stderr=null
    )
    try:
        return log.read_text() if done.returncode else ""
    finally:
        box.clear()


@settings(
    max_examples=SAMPLE,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(words=flag_strategies.flags(SOURCE))
def test_what_is_not_refused_is_accepted(box, words):
    spec = spec_of(box, words)
    if spec is None:
        return
    if "CAP_SYS_RESOURCE" not in HERE.effective:
        # Only the kernel knows how low a score may go then.
        spec["process"].pop("oomScoreAdj", None)
    assert accepted(box, spec) == ""


def test_what_is_no_spec_is_not_accepted(box):
    spec = box.spec("/bin/sleep", "100")
    assert accepted(box, spec) == ""
    spec["process"]["capabilities"]["bounding"] = []
    spec["linux"]["namespaces"].append({"type": "pid"})
    assert "duplicated ns" in accepted(box, spec)
