"""Benchmarks: each script measures all sides in one process run and prints ratios. `make bench` runs them all."""
