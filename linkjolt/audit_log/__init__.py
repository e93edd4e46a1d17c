"""Declares the audit log: its entries, and the values that they may show."""
