"""The policy's labels for containers, from the files of a made-up host."""

from __future__ import annotations

import pytest

from runengine.linux import kernel, selinux
from runengine.linux.selinux import Policy

FOUND = Policy("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")


def write(root, path, text):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (None, "etc/selinux/targeted/contexts/lxc_contexts"),
        ("# SELINUXTYPE=x\nSELINUXTYPE=mls\n", "etc/selinux/mls/contexts/lxc_contexts"),
        (None, "usr/share/containers/selinux/contexts"),
    ],
)
def test_where_the_policy_says_it(tmp_path, config, place):
    if config:
        write(tmp_path, "etc/selinux/config", config)
    write(tmp_path, place, f'# labels\nprocess = "{FOUND[0]}"\nfile = {FOUND[1]}\nro_file = x\n')
    assert selinux.policy(str(tmp_path)) == FOUND


@pytest.mark.parametrize("text", ["", "process=\n", 'process = "a:b:c"\n', "\0\xff\n"])
def test_a_policy_without_containers(tmp_path, text):
    write(tmp_path, "etc/selinux/targeted/contexts/lxc_contexts", text)
    assert selinux.policy(str(tmp_path)) == Policy()


def test_whether_it_is_on(tmp_path):
    assert not kernel.read(str(tmp_path)).selinux
    write(tmp_path, "sys/fs/selinux/enforce", "0")
    assert kernel.read(str(tmp_path)).selinux
