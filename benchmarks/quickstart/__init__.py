"""How the quickstart's policy was made and measured, and its learning rate chosen; see README.md in `benchmarks`."""
