"""Benches reports over many clicks."""
