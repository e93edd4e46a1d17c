"""Turns a report request into SQL."""
