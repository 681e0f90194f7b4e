"""Measurements behind the README: `make bench` runs them and writes `benchmarks/results/`."""
