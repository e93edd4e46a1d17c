"""Measures reports over many clicks."""
