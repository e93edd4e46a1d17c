"""Delivers events of the streams to webhook endpoints as signed HTTP requests."""
