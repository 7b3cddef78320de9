"""The configuration file's model; imported only where there is a file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, ValidationError

from runengine.errors import InvalidParameter


class AddressPool(BaseModel):
    """Where subnets of networks are taken from: a large one, and the prefix length of each."""

    model_config = ConfigDict(extra="forbid", strict=True)

    base: str
    size: int = Field(ge=1, le=126)


class IdPool(BaseModel):
    """Ids of the host that containers' user namespaces are given: the first, and how many."""

    model_config = ConfigDict(extra="forbid", strict=True)

    first: int = Field(ge=1, lt=1 << 32)
    count: int = Field(ge=1, lt=1 << 32)


class Settings(BaseModel):
    """Keys of /etc/runengine/config.json, with the names of the ``Config`` fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    runtimes: dict[str, list[str]] = Field(default_factory=dict)
    default_runtime: str | None = None
    insecure_registries: list[str] | None = None
    mirrors: dict[str, list[str]] | None = None
    log_driver: str | None = None
    log_opts: dict[str, str] | None = None
    default_pids_limit: int | None = Field(default=None, ge=-1)
    min_memory_bytes: int | None = Field(default=None, ge=0)
    cgroup_driver: Literal["cgroupfs", "systemd"] | None = None
    cgroup_parent: str | None = None
    default_network: str | None = None
    default_address_pools: list[AddressPool] | None = None
    publish_addresses: list[IPvAnyAddress] | None = Field(default=None, min_length=1)
    userns: str | None = Field(default=None, pattern="^(host|auto(:size=[0-9]+)?)?$")
    userns_pool: IdPool | None = None
    cdi_spec_dirs: list[str] | None = None
    hooks_dirs: list[Annotated[str, Field(pattern="^/[^\\x00]*$")]] | None = None
    certs_dirs: list[str] | None = None
    search_registry: str | None = None
    max_concurrent_downloads: int | None = Field(default=None, ge=1, le=32)
    max_layer_bytes: int | None = Field(default=None, ge=1 << 20)
    builder: str | None = None
    volume_plugins: dict[str, str] | None = None
    metrics_address: str | None = None


def parse_settings(data: bytes, path: str) -> dict[str, Any]:
    """The keys that the file sets. Raises InvalidParameter naming the file and the key."""
    try:
        settings = Settings.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        if first["type"] == "extra_forbidden":
            raise InvalidParameter(
                f"configuration file {path}: there is no key {where!r}", resolution=_hint(where)
            ) from None
        raise InvalidParameter(f"configuration file {path}: {where}: {first['msg']}") from None
    values = {key: value for key, value in settings if value is not None}
    values["runtimes"] = {"runc": ["runc"], **settings.runtimes}
    if settings.default_address_pools is not None:
        pools = tuple((pool.base, pool.size) for pool in settings.default_address_pools)
        values["default_address_pools"] = pools
    if settings.publish_addresses is not None:
        values["publish_addresses"] = tuple(map(str, settings.publish_addresses))
    if settings.userns_pool is not None:
        values["userns_pool"] = (settings.userns_pool.first, settings.userns_pool.count)
    if settings.cdi_spec_dirs is not None:
        values["cdi_spec_dirs"] = tuple(settings.cdi_spec_dirs)
    if settings.hooks_dirs is not None:
        values["hooks_dirs"] = tuple(settings.hooks_dirs)
    if settings.certs_dirs is not None:
        values["certs_dirs"] = tuple(settings.certs_dirs)
    return values


def _hint(key: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, Settings.model_fields, n=1)
    return f"did you mean {near[0]}?" if near else "docs/configuration.md has all of them"
