"""Runs `python -m linkjolt`, by which the supervisor starts its children."""

from linkjolt.cli.main import main

main(prog_name="linkjolt")
