"""A fresh `linkjolt up --demo` for each page, as its reader has it."""

from tests.system.conftest import limited_instance

__all__ = ["limited_instance"]
