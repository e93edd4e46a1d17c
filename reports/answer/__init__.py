"""Turns sums into the rows of an answer."""
