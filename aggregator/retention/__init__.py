"""Deletes raw clicks that are past their retention; rollups and conversions stay."""
