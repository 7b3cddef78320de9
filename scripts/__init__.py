"""Scripts of the project; the benchmarks are a package so that they can share a harness."""
