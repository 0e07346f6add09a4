"""Measurements: each script runs both sides in one process run and prints ratios. `make bench` runs them all."""
