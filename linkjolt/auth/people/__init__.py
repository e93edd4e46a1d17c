"""Lets people sign in: passwords, second factors, sessions, one-time links, roles."""
