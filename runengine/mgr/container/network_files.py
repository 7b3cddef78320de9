"""/etc/hostname, hosts and resolv.conf of a container: written at each start, bound read-write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.linux.fsatomic import replace
from runengine.oci_spec import network_files

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

READ_LIMIT = 1 << 20


def write(
    context: Context, record: Record, hostname: str, directory: str, *, join: str | None
) -> dict[str, str]:
    """Write the files into ``directory``; returns container path to host file.

    A container that joins the network of ``join`` shares that one's files.
    """
    if join is not None:
        other = context.store.containers.get(context.resolve(join))
        shared: dict[str, str] = other.details.get("network_files", {})
        return shared
    written = {}
    for path, text in _texts(record, hostname).items():
        target = f"{directory}/{os.path.basename(path)}"
        replace(target, text.encode(), mode=0o644, durable=False)
        written[path] = target
    return written


def _texts(record: Record, hostname: str) -> dict[str, str]:
    host = record.host_config
    resolver = _host_file("/etc/resolv.conf")
    shared = host["NetworkMode"] == "host"
    hosts = network_files.hosts(
        hostname, domain=record.config["Domainname"], extra=host["ExtraHosts"]
    )
    if shared and not host["ExtraHosts"]:
        hosts = _host_file("/etc/hosts") or hosts
    return {
        "/etc/hostname": network_files.hostname(hostname),
        "/etc/hosts": hosts,
        "/etc/resolv.conf": network_files.resolv_conf(host, resolver, private=not shared),
    }


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(READ_LIMIT)
    except OSError:
        return ""
