"""Finds, erases and exports what is stored about a customer."""
