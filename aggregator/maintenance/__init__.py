"""Audits, repairs, restores and purges the warehouse."""
