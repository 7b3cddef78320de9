"""Users' seccomp profiles: models of Docker's form, and its reduction to the OCI form.

Source: Docker documentation, "Seccomp security profiles for Docker"; config-linux.md#seccomp.
Podman's own profile has names of errors beside the numbers; they are understood, too.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from runengine.errors import InvalidParameter
from runengine.oci_spec import runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.oci_spec.seccomp import Machine, Target


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


def _known_error(name: str) -> str:
    if name and not hasattr(errno, name):
        raise ValueError("no such error; see errno(3)")
    return name


ErrorName = Annotated[str, AfterValidator(_known_error)]


class ArchMap(_Model):
    """A native architecture and the others to allow beside it."""

    architecture: runtime.SeccompArch
    sub_architectures: list[runtime.SeccompArch] | None = None


class Filter(_Model):
    """Under what conditions a rule counts."""

    caps: list[str] = Field(default_factory=list)
    arches: list[str] = Field(default_factory=list)
    min_kernel: str = Field(default="", pattern=r"^([0-9]+\.[0-9]+(\..*)?)?$")


class Rule(_Model):
    """System calls and what happens to them."""

    name: str = ""
    names: list[str] | None = None
    action: runtime.SeccompAction
    errno_ret: int | None = Field(default=None, ge=0, le=4095)
    errno: ErrorName = ""
    """Stands for its number, whatever ``errno_ret`` says."""
    args: list[runtime.SeccompArg] | None = None
    comment: str = ""
    includes: Filter | None = None
    excludes: Filter | None = None

    @model_validator(mode="after")
    def _one_name_form(self) -> Rule:
        if bool(self.name) == bool(self.names):
            raise ValueError("exactly one of 'name' and 'names' must be given")
        return self


class Profile(_Model):
    """A profile in Docker's form; one in OCI form is a special case of it."""

    default_action: runtime.SeccompAction
    default_errno_ret: int | None = Field(default=None, ge=0, le=4095)
    default_errno: ErrorName = ""
    architectures: list[runtime.SeccompArch] | None = None
    arch_map: list[ArchMap] | None = None
    flags: list[runtime.SeccompFlag] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[Rule] | None = None

    @model_validator(mode="after")
    def _one_architecture_form(self) -> Profile:
        if self.architectures and self.arch_map:
            raise ValueError("use either 'architectures' or 'archMap'")
        return self


def check(text: str, name: str) -> None:
    """Raise InvalidParameter, with ``name`` and the place in it, for what is no profile."""
    _parse(text, f" {name}")


def load(text: str, target: Target, machine: Machine | None) -> dict[str, Any]:
    """``linux.seccomp`` for a target. Raises InvalidParameter."""
    profile = _parse(text)
    section: dict[str, Any] = {
        "defaultAction": profile.default_action,
        "defaultErrnoRet": _number(profile.default_errno, profile.default_errno_ret),
        "architectures": _architectures(profile, machine),
        "flags": profile.flags,
        "listenerPath": profile.listener_path,
        "listenerMetadata": profile.listener_metadata,
        "syscalls": _syscalls(profile, target, machine),
    }
    # No flags at all are not the same as no word on them, for which runtimes have a default.
    kept = {key: value for key, value in section.items() if value not in (None, "", [])}
    return kept if profile.flags is None else {**kept, "flags": profile.flags}


def _number(name: str, number: int | None) -> int | None:
    return getattr(errno, name) if name else number


def _parse(text: str, name: str = "") -> Profile:
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        raise InvalidParameter(
            f"invalid seccomp profile{name}",
            details=_first(error),
            resolution="use Docker's or the OCI runtime spec's form",
        ) from None


def _first(error: ValidationError) -> str:
    """The first problem, with its place as a path (``syscalls[3].args[0].op``)."""
    problem = error.errors()[0]
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]
    )
    return f"{where[1:]}: {problem['msg']}" if where else problem["msg"]


def _architectures(profile: Profile, machine: Machine | None) -> Sequence[str] | None:
    if profile.arch_map is None:
        return profile.architectures
    for entry in profile.arch_map:
        if machine is not None and entry.architecture == machine.scmp:
            return [entry.architecture, *(entry.sub_architectures or ())]
    return None


def _syscalls(profile: Profile, target: Target, machine: Machine | None) -> list[dict[str, Any]]:
    entries = []
    for rule in profile.syscalls or ():
        if not _counts(rule, target, machine.docker if machine else ""):
            continue
        entry: dict[str, Any] = {"names": rule.names or [rule.name], "action": rule.action}
        number = _number(rule.errno, rule.errno_ret)
        if number is not None:
            entry["errnoRet"] = number
        if rule.args:
            entry["args"] = [arg.model_dump(by_alias=True, exclude_none=True) for arg in rule.args]
        entries.append(entry)
    return entries


def _counts(rule: Rule, target: Target, arch: str) -> bool:
    """Every condition of ``includes`` holds and none of ``excludes``."""
    includes, excludes = rule.includes or Filter(), rule.excludes or Filter()
    return (
        target.capabilities.issuperset(includes.caps)
        and (not includes.arches or arch in includes.arches)
        and (not includes.min_kernel or target.kernel >= _version(includes.min_kernel))
        and target.capabilities.isdisjoint(excludes.caps)
        and arch not in excludes.arches
        and (not excludes.min_kernel or target.kernel < _version(excludes.min_kernel))
    )


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
