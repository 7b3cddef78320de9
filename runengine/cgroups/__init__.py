"""Control groups v1 and v2: layout, limits, counters."""
