"""Declares the requests that every peer gets: the same links, the same browser."""

from pathlib import Path

from linkjolt.datasets import ACCOUNT_DEFAULT, live_dataset

CONNECTIONS = 256
DESTINATION = "https://shop.example/p"
# As many links as a busy campaign has, and few enough for every peer's memory.
CODES = tuple(f"bench_{number:02}" for number in range(1, 51))
ACCOUNT, CAMPAIGN, AFFILIATE = live_dataset(ACCOUNT_DEFAULT), 1, 1
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept-Language": "en-US,en;q=0.5",
    "Referer": "https://blog.example/ten-best-shoes",
}
_FOLDER = Path(__file__).parent
CLICKS_SCRIPT = _FOLDER / "clicks.lua"
CONVERSIONS_SCRIPT = _FOLDER / "conversions.lua"


def write_codes(folder: Path) -> Path:
    """Writes a file with one tracking code a line."""
    path = folder / "codes.txt"
    path.write_text("\n".join(CODES) + "\n")
    return path


def raw_requests(port: int) -> list[bytes]:
    """Builds the bytes of a GET for each tracking code."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return [
        f"GET /{code} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode()
        for code in CODES
    ]
