"""Serves the people of an account, and their sessions."""
