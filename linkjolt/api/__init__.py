"""Serves the resources of the registry, one file each."""
