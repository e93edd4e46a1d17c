"""Receives clicks and conversions over HTTP and publishes them to streams."""
