"""Measures the cost of an event as LinkJolt grows: `python -m loadtests.scaling`."""
