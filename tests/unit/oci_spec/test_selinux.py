"""SELinux labels: the flag's grammar, which label a container gets, what the spec has of it."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.oci_spec import selinux, validate
from runengine.oci_spec.selinux import Context, Labels, Options
from tests.support import specs

PROCESS = Context("system_u", "system_r", "container_t", "s0")
FILE = Context("system_u", "object_r", "container_file_t", "s0")
LEVEL = "s0:c1,c2"


def labels(*values):
    return selinux.labels(selinux.parse(values), PROCESS, FILE, LEVEL)


def test_the_policys_labels_with_a_level_of_its_own():
    assert labels() == Labels(
        "system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2"
    )


@pytest.mark.parametrize(
    ("values", "process", "mount"),
    [
        (["type:mine_t"], "system_u:system_r:mine_t:s0:c1,c2", "container_file_t:s0:c1,c2"),
        (["level:s0:c100,c200"], "container_t:s0:c100,c200", "container_file_t:s0:c100,c200"),
        (["user:me_u"], "me_u:system_r:", "me_u:object_r:"),
        (["role:me_r"], "system_u:me_r:", "system_u:object_r:"),
        (["filetype:data_t"], "container_t:s0:c1,c2", "data_t:s0:c1,c2"),
        (["type:a_t", "type:b_t"], "b_t", "container_file_t"),
    ],
)
def test_parts_of_the_users(values, process, mount):
    found = labels(*values)
    assert process in found.process
    assert mount in found.mount


def test_disabled_means_the_process():
    """The files have a label all the same, for others not to reach them."""
    assert labels("disable", "type:x_t").process == ""
    assert labels("disable").mount.endswith(LEVEL)


@pytest.mark.parametrize(
    "value", ["", "type", "type:", "kind:x", "type:a b", "type:a:b", "type:a,b", "Disable",
              "level:s0\n", "user:ü", "disable:x"],
)  # fmt: skip
def test_what_is_no_part_of_a_label(value):
    with pytest.raises(InvalidParameter, match="invalid --security-opt label="):
        selinux.parse([value])
    host, kernel = specs.host(SecurityOpt=[f"label={value}"]), specs.KERNEL._replace(selinux=True)
    with pytest.raises(InvalidParameter, match="invalid --security-opt label="):
        validate.check(specs.config(), host, kernel)


def test_both_separators_of_the_flag():
    kernel = specs.KERNEL._replace(selinux=True)
    for text in ("label=type:x_t", "label:type:x_t", "label=nested", "label:disable"):
        host = specs.host(SecurityOpt=[text])
        assert validate.discard_unsupported(host, kernel).warnings == []
        validate.check(specs.config(), host, kernel)
    assert selinux.parse(["nested"]) == Options(nested=True)


@pytest.mark.parametrize("text", ["", "a:b", "a::c", "a:b:c\0:"[:3]])
def test_what_is_no_label(text):
    with pytest.raises(ValueError, match="is not a label"):
        selinux.parse_context(text)


def test_a_label_for_all_containers():
    assert selinux.shared("system_u:object_r:container_file_t:s0:c1,c2") == str(FILE)
    assert selinux.level_of("u:r:t:s0:c1,c2") == LEVEL


def test_levels_are_drawn_until_one_is_free():
    assert selinux.free_level([], [(5, 3)]) == "s0:c3,c5"
    assert selinux.free_level(["s0:c3,c5"], [(3, 5), (7, 6)]) == "s0:c6,c7"
    assert selinux.free_level(["s0:c3,c5"], [(3, 5)]) is None


def test_what_the_spec_has():
    spec = specs.build(labels=Labels("u:r:t:s0", "u:r:f:s0"))
    assert spec["process"]["selinuxLabel"] == "u:r:t:s0"
    assert spec["linux"]["mountLabel"] == "u:r:f:s0"
    assert "/sys/fs/selinux" not in [mount["destination"] for mount in spec["mounts"]]
    spec = specs.build({}, {"SecurityOpt": ["label=nested"]}, labels=Labels("", "u:r:f:s0"))
    assert "selinuxLabel" not in spec["process"]
    assert spec["mounts"][-1]["destination"] == "/sys/fs/selinux"
    spec = specs.build()
    assert "mountLabel" not in spec["linux"]
