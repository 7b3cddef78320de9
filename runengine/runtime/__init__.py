"""Drives the OCI runtime: argv and errors, no state."""
