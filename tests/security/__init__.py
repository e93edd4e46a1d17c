"""Tests that strangers, and keys of little scope, can do no harm."""
