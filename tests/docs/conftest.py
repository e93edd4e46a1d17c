"""A fresh `linkjolt up --demo` for each page, as its reader has it."""

from tests.system.conftest import own_instance

__all__ = ["own_instance"]
