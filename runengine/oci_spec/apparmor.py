"""Text of the default AppArmor profile (apparmor.d(5)). Own writing; loading is linux.apparmor's.

It holds where capabilities and namespaces leave something open, above all for a container that
was given CAP_SYS_ADMIN: no mounts, no writes to the host's settings in /proc and /sys, no
tracing of and signals to processes outside of the profile.
"""

from __future__ import annotations

import re

from runengine.errors import InvalidParameter

PROFILE_NAME = "runengine-default"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")

_RULES = """\
  # Files, sockets and capabilities: mount namespace, network and bounding set decide.
  file,
  network,
  unix,
  dbus,
  capability,
  umount,
  # No rule allows a mount: so it is denied and, other than by a deny rule, logged.

  # The host's memory, keys, timers and emergency switch.
  deny @{PROC}/{kcore,kmem,mem,sysrq-trigger} rwklx,
  deny @{PROC}/{keys,key-users,latency_stats,sched_debug,timer_list,timer_stats} rwklx,
  deny @{PROC}/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** wklx,

  # Settings of the whole host; those of a namespace (net, shm, msg, sem) stay writable.
  deny @{PROC}/sys/{abi,crypto,debug,dev,sunrpc,user,vm,xen}/** wklx,
  deny @{PROC}/sys/fs/{binfmt_misc,epoll,inotify,nfs,quota,xfs}/** wklx,
  deny @{PROC}/sys/fs/{file-max,nr_open,pipe-*,protected_*,suid_dumpable,mount-max} wklx,
  deny @{PROC}/sys/kernel/{core_*,modprobe*,hotplug,kexec_*,ftrace_*,bpf_*,io_uring_*} wklx,
  deny @{PROC}/sys/kernel/{kptr_*,dmesg_*,perf_*,randomize_*,unprivileged_*,ctrl-alt-del} wklx,
  deny @{PROC}/sys/kernel/{panic*,printk*,sched_*,numa_*,hung_*,soft*,hard*,nmi_*} wklx,
  deny @{PROC}/sys/kernel/{*watchdog*,pid_max,threads-max,tainted,acct,latencytop,sysrq} wklx,
  deny @{PROC}/sys/kernel/{keys,random,usermodehelper,yama,seccomp,firmware_config}/** wklx,

  # Hardware, power and security; the cgroups are read-only by their mount.
  deny /sys/{block,bus,class,dev,devices,hypervisor,kernel,module,power}/** wklx,
  deny /sys/fs/{bpf,btrfs,ext4,f2fs,fuse,pstore,resctrl,selinux,smackfs,xfs}/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  # Signals and tracing stay inside; the engine, the runtime and the host's root may signal.
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
"""


def profile(name: str = PROFILE_NAME, *, tunables: bool = True) -> str:
    """The profile's text.

    ``tunables`` says whether the distribution's ``tunables/global`` is there, which defines
    @{PROC}. Raises InvalidParameter for a name that would need quoting.
    """
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"invalid AppArmor profile name {name!r}")
    head = "include <tunables/global>" if tunables else "@{PROC}=/proc/"
    return (
        f"{head}\n\nprofile {name} flags=(attach_disconnected,mediate_deleted) {{\n{_RULES}"
        f"  signal (send,receive) peer={name},\n"
        f"  ptrace (trace,read,tracedby,readby) peer={name},\n}}\n"
    )
