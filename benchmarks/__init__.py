"""What is timed, against what, in one run. `python -m benchmarks` runs all; see README.md."""
