"""Runs the peers that the edge is measured beside: nginx, Starlette, LinkJolt itself."""
