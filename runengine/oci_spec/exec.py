"""The process that ``exec`` adds to a container: the container's own protections apply to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter
from runengine.oci_spec import workdir
from runengine.oci_spec.env import merge_env
from runengine.oci_spec.opts.process import capability_section, user_section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.linux.kernel import Kernel
    from runengine.model import ExecConfig
    from runengine.oci_spec.users import User

# Inherited as they are. The runtime itself applies the container's seccomp filter to an exec.
_INHERITED = (
    *("rlimits", "apparmorProfile", "selinuxLabel", "oomScoreAdj", "noNewPrivileges"),
    "execCPUAffinity",
)


def build_process(
    spec: Mapping[str, Any], config: ExecConfig, user: User, kernel: Kernel
) -> dict[str, Any]:
    """The ``process`` document for ``runc exec --process`` (config.md#process).

    ``spec`` is the container's bundle, ``user`` the exec's or else the container's user.
    A privileged exec has every capability of ``kernel``'s bounding set, and only that.
    Raises InvalidParameter.
    """
    if not config["Cmd"]:
        raise InvalidParameter("no exec command specified")
    container = spec["process"]
    process: dict[str, Any] = {
        "terminal": config["Tty"],
        "user": user_section(user),
        "args": list(config["Cmd"]),
        "env": _env(container, config, user),
        "cwd": _cwd(container, config),
        "capabilities": _capabilities(container, config, user, kernel),
        **{key: container[key] for key in _INHERITED if key in container},
    }
    if config["Privileged"] and "apparmorProfile" in process:
        process["apparmorProfile"] = "unconfined"
    return process


def _cwd(container: Mapping[str, Any], config: ExecConfig) -> str:
    workdir.check(config["WorkingDir"])
    return config["WorkingDir"] or str(container["cwd"])


def _env(container: Mapping[str, Any], config: ExecConfig, user: User) -> list[str]:
    """The container's variables; another user has another HOME, a terminal a TERM."""
    base = list(container["env"])
    if container["user"]["uid"] != user.uid:
        base = merge_env(base, [f"HOME={user.home}"])
    names = {item.partition("=")[0] for item in base}
    if config["Tty"] and "TERM" not in names:
        base.append("TERM=xterm")
    return merge_env(base, config["Env"])


def _capabilities(
    container: Mapping[str, Any], config: ExecConfig, user: User, kernel: Kernel
) -> dict[str, list[str]]:
    bounding = kernel.bounding if config["Privileged"] else container["capabilities"]["bounding"]
    return capability_section(tuple(bounding), user.uid)
