"""Moves closed slices of stream time into the warehouse, each event once."""
