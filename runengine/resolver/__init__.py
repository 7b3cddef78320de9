"""Names of containers on user-defined networks: one DNS process for all networks of an engine."""
