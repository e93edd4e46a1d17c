"""Bounds the connections of a listener, under uvicorn and every application."""
