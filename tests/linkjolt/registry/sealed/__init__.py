"""Tests of sealed secrets in the registry."""
