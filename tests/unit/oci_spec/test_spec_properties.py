"""Whatever is asked for, the spec is a valid one and confines as the flags say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from runengine.errors import EngineError
from runengine.linux.devices import DeviceEntry
from runengine.oci_spec import runtime, security_opt, user_mounts, users, validate
from runengine.oci_spec.build import build_spec
from runengine.oci_spec.destinations import PROC
from runengine.oci_spec.env import merge_env
from runengine.oci_spec.opts.security import MASKED, READONLY
from tests.support import flag_strategies, specs
from tests.support.trees import GROUP, PASSWD

KERNELS = [
    specs.KERNEL,
    specs.OLD_KERNEL,
    specs.KERNEL._replace(apparmor=True),
    specs.KERNEL._replace(cgroup_version=1, bounding=("CAP_CHOWN", "CAP_SYS_ADMIN")),
]
MINE = DeviceEntry("/dev/mine", "c", 1, 3, 0o666, 0, 0, "rwm")


def refused_or_built(words: list[str], kernel: Any) -> tuple[Any, dict[str, Any]] | None:
    """The request's host configuration and the spec; None for what is refused, in one line."""
    try:
        return built(words, kernel)
    except EngineError as error:
        event(f"refused: {type(error).__name__}")
        lines = str(error).splitlines()
    assert len(lines) == 1
    return None


def built(words: list[str], kernel: Any) -> tuple[Any, dict[str, Any]]:
    wanted = flag_strategies.request(words)
    host, _ = validate.discard_unsupported(wanted.host, kernel)
    config = wanted.config
    validate.check(config, host, kernel)
    facts = specs.facts(
        kernel=kernel,
        args=list(config["Cmd"] or ["sh"]),
        env=merge_env([], config["Env"]),
        cwd=config["WorkingDir"],
        user=users.resolve_user(config["User"], PASSWD, GROUP, host["GroupAdd"]),
        mounts=user_mounts.resolve_all(host),
        devices=[MINE] if host["Devices"] else [],
        apparmor_profile="runengine-default",
    )
    return host, build_spec(config, host, facts)


@settings(max_examples=300)
@given(words=flag_strategies.flags("/srv"), kernel=st.sampled_from(KERNELS))
def test_random_flags(words, kernel):
    found = refused_or_built(words, kernel)
    assume(found is not None)
    assert found is not None
    host, spec = found
    event("built")
    runtime.Spec.model_validate(json.loads(json.dumps(spec)))
    check_process(spec, kernel)
    check_mounts(spec)
    check_paths(spec, host)
    check_filter(spec, host, kernel)
    check_devices(spec, host)


def check_process(spec: dict[str, Any], kernel: Any) -> None:
    process, held = spec["process"], spec["process"]["capabilities"]
    assert set(held["bounding"]) <= set(kernel.bounding)
    assert set(held["effective"]) == set(held["permitted"]) <= set(held["bounding"])
    assert not {"ambient", "inheritable"} & set(held)
    if process["user"]["uid"]:
        assert held["effective"] == []
    assert process["user"]["gid"] in process["user"]["additionalGids"]
    assert process["cwd"].startswith("/")
    names = [item.partition("=")[0] for item in process["env"]]
    assert len(names) == len(set(names))
    assert {"PATH", "HOME"} <= set(names)


def check_mounts(spec: dict[str, Any]) -> None:
    targets = [mount["destination"] for mount in spec["mounts"]]
    assert len(targets) == len(set(targets))
    assert targets.count(PROC) == 1
    assert not [path for path in targets if path.startswith(f"{PROC}/")]
    for place, path in enumerate(targets):
        assert not [later for later in targets[place + 1 :] if path.startswith(f"{later}/")]
    kinds = [namespace["type"] for namespace in spec["linux"]["namespaces"]]
    assert len(kinds) == len(set(kinds))
    assert "mount" in kinds


def check_paths(spec: dict[str, Any], host: Any) -> None:
    options = security_opt.parse(host["SecurityOpt"])
    lifted = host["Privileged"] or host["MaskedPaths"] == [] or options.unmask
    if not lifted:
        assert set(MASKED) <= set(spec["linux"]["maskedPaths"])
        assert set(READONLY) <= set(spec["linux"]["readonlyPaths"])


def check_filter(spec: dict[str, Any], host: Any, kernel: Any) -> None:
    options = security_opt.parse(host["SecurityOpt"])
    asked = options.seccomp not in ("", security_opt.UNCONFINED)
    wanted = asked or (options.seccomp == "" and not host["Privileged"])
    assert ("seccomp" in spec["linux"]) == wanted
    assert spec["process"]["noNewPrivileges"] == options.no_new_privileges
    assert ("apparmorProfile" in spec["process"]) == kernel.apparmor


def check_devices(spec: dict[str, Any], host: Any) -> None:
    rules = spec["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": host["Privileged"], "access": "rwm"}
    everything = [rule for rule in rules if rule["allow"] and "major" not in rule
                  and rule.get("access") != "m" and rule.get("type", "a") == "a"]  # fmt: skip
    if not any(rule.startswith("a") for rule in host["DeviceCgroupRules"]):
        assert bool(everything) == host["Privileged"]


@pytest.mark.parametrize("wrong", ["oomScoreAdj", "destination"])
def test_what_is_no_spec_is_found(wrong):
    """So the model that the specs are held against can refuse one."""
    spec = specs.build()
    if wrong == "oomScoreAdj":
        spec["process"]["oomScoreAdj"] = 1001
    else:
        spec["mounts"][0]["destination"] = 1
    with pytest.raises(ValueError, match=wrong):
        runtime.Spec.model_validate(spec)
