"""Errors of graders on rewritten, wrong and labelled answers. See `python -m benchmarks.graders --help`."""
