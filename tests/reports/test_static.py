"""The dashboard's files are served plain or compressed, under a strict policy."""

import gzip
import re

import pytest

from linkjolt.verdict_reasons import SENTENCES
from reports.static import FOLDER, read_files
from reports.vocabulary import DIMENSIONS, METRICS
from tests.reports.conftest import Client


async def test_the_page_needs_no_key_and_nothing_from_elsewhere(client: Client) -> None:
    page = await client.http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        answer = await client.http.get(path)
        assert answer.status_code == 200, path
    assert not re.findall(r'(?:src|href)="https?:', page.text)


@pytest.mark.parametrize("name", sorted(read_files()))
async def test_every_file_is_served_packed_or_plain_and_once(client: Client, name: str) -> None:
    plain = await client.http.get(f"/assets/{name}", headers={"Accept-Encoding": "identity"})
    assert plain.content == (FOLDER / name).read_bytes()
    assert gzip.decompress(read_files()[name].gzipped) == plain.content
    packed = await client.http.get(f"/assets/{name}", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    known = {"If-None-Match": plain.headers["etag"]}
    assert (await client.http.get(f"/assets/{name}", headers=known)).status_code == 304


@pytest.mark.parametrize("name", ["none.js", "../app.py", "%2e%2e/app.py", "vendor/README.md"])
async def test_no_other_file_is_served(client: Client, name: str) -> None:
    refused = await client.http.get(f"/assets/{name}")
    assert refused.status_code == 404
    assert refused.json()["code"] == "not_found"


def test_the_dashboard_knows_every_word_of_the_reports() -> None:
    text = (FOLDER / "format.js").read_text(encoding="utf-8")
    for name in METRICS:
        assert f"{name}: " in text
    for name in DIMENSIONS:
        assert f"{name}: " in text or re.fullmatch(r"sub\d+", name), name
    for reason, sentence in SENTENCES.items():
        assert f'{reason or chr(34) * 2}: "{sentence}"' in text
