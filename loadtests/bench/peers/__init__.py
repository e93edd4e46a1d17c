"""Serves the peers of the edge's benches: nginx, Starlette, LinkJolt itself."""
