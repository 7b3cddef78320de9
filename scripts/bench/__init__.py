"""Benchmarks against raw runc, Docker and Podman. Each prints ratios; none asserts a time."""
