"""Measurements behind README and docs, each a module with its command; what they give is in `benchmarks/results/`."""
