"""Serves HTTP: requests, problems, bounds, the OpenAPI document."""
