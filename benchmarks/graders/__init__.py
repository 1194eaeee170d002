"""The holes of graders: golds rewritten, answers made wrong, real labels. `python -m benchmarks.graders --help`."""
