"""Reads postbacks in a dialect, as the edge does."""

from ingest.postbacks.dialects import DIALECTS
from ingest.postbacks.pairs import json_to_query, read_parameters
from ingest.postbacks.parameters import Postback, read_postback

CLICK = "38G6DGCQM00000400G029SGT1X"


def read(name: str, query: str) -> Postback:
    """Reads a query, in which `{c}` is the click, in a dialect."""
    parameters = read_parameters(query.replace("{c}", CLICK).encode())
    return read_postback(DIALECTS[name], parameters)


def read_json(name: str, body: str) -> Postback:
    """Reads a JSON body, in which `{c}` is the click, in a dialect."""
    dialect = DIALECTS[name]
    query = json_to_query(body.replace("{c}", CLICK).encode(), dialect.parameters)
    return read_postback(dialect, read_parameters(b"", query))
