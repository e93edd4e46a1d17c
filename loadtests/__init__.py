"""Loads and times running instances; nothing here is a test."""
