"""Kernel interfaces: system calls, mounts, processes, atomic files; imports only leaves."""
