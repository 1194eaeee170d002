"""Scripts that made and measured the quickstart's policy and chose its learning rate; see `benchmarks/README.md`."""
