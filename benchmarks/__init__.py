"""Measurements of echorl against alternatives. `python -m benchmarks` runs all of them; see README.md."""
