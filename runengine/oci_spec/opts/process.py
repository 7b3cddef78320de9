"""``process`` of the runtime spec (config.md#process)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter
from runengine.oci_spec import capabilities, env, init, security_opt, ulimits

if TYPE_CHECKING:
    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.facts import SpecFacts
    from runengine.oci_spec.users import User


def set_process(
    spec: dict[str, Any], config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """Command, identity, environment, capabilities, no-new-privileges, OOM score."""
    if not facts.args:
        raise InvalidParameter(
            "no command specified", resolution="the image has none: give one after the image"
        )
    options = security_opt.parse(host["SecurityOpt"])
    spec["process"] = {
        "terminal": config["Tty"],
        "user": user_section(facts.user),
        "args": init.prefix(facts, host) + facts.args,
        "env": env.with_defaults(
            facts.env, hostname=facts.hostname, home=facts.user.home, tty=config["Tty"]
        ),
        "cwd": facts.cwd or "/",
        "capabilities": capability_section(
            capabilities.resolve(
                host["CapAdd"],
                host["CapDrop"],
                privileged=host["Privileged"],
                bounding=facts.kernel.bounding,
            ),
            facts.user.uid,
        ),
        "noNewPrivileges": options.no_new_privileges,
    }
    if facts.exec_cpu_affinity:
        spec["process"]["execCPUAffinity"] = facts.exec_cpu_affinity
    score = oom_score(host, facts)
    if score is not None:
        spec["process"]["oomScoreAdj"] = score


def oom_score(host: HostConfig, facts: SpecFacts) -> int | None:
    """The score asked for, else 0 and not that of the monitor, which starts the container.

    Nothing where the engine itself was given a higher one and cannot go below it
    (proc_pid_oom_score_adj(5)).
    """
    score, kernel = host["OomScoreAdj"], facts.kernel
    stuck = kernel.oom_score_adj > 0 and "CAP_SYS_RESOURCE" not in kernel.effective
    return None if score == 0 and stuck else score


def user_section(user: User) -> dict[str, Any]:
    """``process.user``."""
    section: dict[str, Any] = {"uid": user.uid, "gid": user.gid}
    if user.additional_gids:
        section["additionalGids"] = list(user.additional_gids)
    return section


def capability_section(names: tuple[str, ...], uid: int) -> dict[str, list[str]]:
    """``process.capabilities``: inheritable and ambient stay empty (CVE-2022-24769).

    A user other than root holds none itself; the bounding set is what setuid programs may gain.
    """
    held = list(names) if uid == 0 else []
    return {"bounding": list(names), "effective": held, "permitted": list(held)}


def set_rlimits(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """``process.rlimits``: the engine's defaults below the user's."""
    limits = {name: (soft, hard) for name, (soft, hard) in facts.rlimits.items()}
    limits.update((limit["Name"], (limit["Soft"], limit["Hard"])) for limit in host["Ulimits"])
    if limits:
        spec["process"]["rlimits"] = ulimits.section(limits)
