"""What networks need: interfaces, the firewall, forwarding, name servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Hidden
from runengine.oci_spec import network_files
from runengine.resolver import upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

_NET = "/proc/sys/net"
_NEEDED = ("bridge", "veth")
_OPTIONAL = ("macvlan", "ipvlan")
_NO_NETWORKS = "only --network none and host work"
_CROWDED = 0.9


def interfaces(host: Host) -> Iterator[Finding]:
    """Drivers; asked of the kernel only where that cannot load a module."""
    there = []
    for name in (*_NEEDED, *_OPTIONAL):
        how = host.module(name) or _asked(host, name)
        if how:
            there.append(f"{name}{' (as a module)' if how == 'module' else ''}")
        elif name in _NEEDED:
            told = f"not in this kernel: {_NO_NETWORKS}"
            yield Finding(name, PROBLEM, told, f"modprobe {name}, or a kernel that has it")
        else:
            told = f"not in this kernel: no networks with --driver {name}"
            yield Finding(name, NOTE, told, f"modprobe {name}, or a kernel that has it")
    yield Finding("interfaces", OK, ", ".join(there) or "none")


def _asked(host: Host, name: str) -> str:
    host.need_root("which drivers are built into the kernel")
    return "built in" if host.probes.driver(name) else ""


def nftables(host: Host) -> Iterator[Finding]:
    """The kernel's part, then the program's."""
    if host.program("nft") is None:
        told = f"the program nft is missing: {_NO_NETWORKS}"
        yield Finding("nft", PROBLEM, told, "apt-get install nftables")
    else:
        words = host.probes.output(["nft", "--version"]).split()
        yield Finding("nft", OK, words[1] if len(words) > 1 else "there")
    if host.module("nf_tables"):
        yield Finding("nftables", OK, "there")
        return
    host.need_root("the firewall")
    try:
        host.probes.nftables()
    except EngineError as error:
        yield Finding("nftables", PROBLEM, f"{error.brief}: {_NO_NETWORKS}",
                      error.resolution or "modprobe nf_tables, or a kernel that has it")
    else:
        yield Finding("nftables", OK, "there")


def bridged_frames(host: Host) -> Iterator[Finding]:
    """Whether what stays within a bridge passes the firewall as well."""
    on = host.number(f"{_NET}/bridge/bridge-nf-call-iptables")
    seen = {None: "not loaded, and not needed", 0: "loaded, off"}
    yield Finding("br_netfilter", OK, seen.get(on, "on: frames within a bridge pass the firewall"))


def forwarding(host: Host) -> Iterator[Finding]:
    """Needed by networks, which switch it on themselves, and say so."""
    if not host.exists(f"{_NET}/ipv4"):
        raise Hidden("cannot be seen: no /proc/sys/net here")
    if host.number(f"{_NET}/ipv4/ip_forward") == 1:
        yield Finding("forwarding", OK, "on")
    else:
        told = "off: the first container on a network switches it on"
        yield Finding("forwarding", NOTE, told, "sysctl net.ipv4.ip_forward=1")


def ipv6(host: Host) -> Iterator[Finding]:
    """Whether networks with --ipv6 are possible."""
    if not host.exists(f"{_NET}/ipv4"):
        return
    if not host.exists(f"{_NET}/ipv6/conf"):
        told = "not in this kernel, or ipv6.disable=1: no networks with --ipv6"
        yield Finding("IPv6", NOTE, told, "boot without ipv6.disable=1")
    elif host.number(f"{_NET}/ipv6/conf/all/disable_ipv6") == 1:
        told = "switched off: no networks with --ipv6"
        yield Finding("IPv6", NOTE, told, "sysctl net.ipv6.conf.all.disable_ipv6=0")
    else:
        yield Finding("IPv6", OK, "there")


def conntrack(host: Host) -> Iterator[Finding]:
    """Published ports and the way out live on it."""
    used = host.number(f"{_NET}/netfilter/nf_conntrack_count")
    limit = host.number(f"{_NET}/netfilter/nf_conntrack_max")
    if not limit or used is None:
        there = host.module("nf_conntrack") or host.exists(f"{_NET}/netfilter/nf_conntrack_acct")
        told = "there" if there else "not loaded; it is, with the first network"
        yield Finding("conntrack", OK, told)
    elif used > limit * _CROWDED:
        told = f"{used} of {limit} connections: new ones will be dropped"
        remedy = f"sysctl net.netfilter.nf_conntrack_max={limit * 2}"
        yield Finding("conntrack", NOTE, told, remedy)
    else:
        yield Finding("conntrack", OK, f"{used} of {limit} connections")


def name_servers(host: Host) -> Iterator[Finding]:
    """Whom containers' questions go to in the end."""
    servers = network_files.parse_resolv_conf(host.text(upstream.HOST_FILE) or "").servers
    behind = network_files.parse_resolv_conf(host.text(upstream.RESOLVED_FILE) or "").servers
    if not servers:
        told = f"none in {upstream.HOST_FILE}: names outside an engine's networks do not resolve"
        yield Finding("name servers", NOTE, told, "name one there, or by --dns")
    elif behind and all(map(network_files.is_local, servers)):
        yield Finding("name servers", OK, f"{', '.join(behind)} (behind systemd-resolved)")
    else:
        yield Finding("name servers", OK, ", ".join(servers))


CHECKS = (
    interfaces,
    nftables,
    bridged_frames,
    forwarding,
    ipv6,
    conntrack,
    name_servers,
)
