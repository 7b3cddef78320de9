"""Root filesystems: unpacking layers, overlay mounts, access that cannot leave the root."""
