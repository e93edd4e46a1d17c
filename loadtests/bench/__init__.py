"""The side-by-side benchmarks: `python -m loadtests.bench`, also `make bench`."""
