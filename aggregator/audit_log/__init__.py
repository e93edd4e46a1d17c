"""Stores the audit log as a chain of hashes for each account, and verifies it."""
