"""Benchmarks LinkJolt beside its peers: `python -m loadtests.bench`, also `make bench`."""
