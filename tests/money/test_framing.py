"""A post is read whole however HTTP parts it, and refused where two readers could disagree."""

import json
import re
import socket
from urllib.parse import urlsplit

from tests.money.shop import Shop, money, unique


def _head(shop: Shop, *headers: str, version: str = "1.1") -> bytes:
    lines = [
        f"POST /v1/conversions HTTP/{version}",
        "Host: edge",
        f"Authorization: Bearer {shop.api.key}",
        "Content-Type: application/json",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _body(shop: Shop, order: str) -> bytes:
    fields = {"tracking_code": shop.ann.code, "order_id": order, "order_value": 100}
    return json.dumps(fields).encode()


def _exchange(shop: Shop, *parts: bytes, answers: int = 1) -> list[int]:
    """Sends parts, each after an answer to the one before, and returns the statuses."""
    where = urlsplit(shop.api.edge)
    received = b""
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        for number, part in enumerate(parts, 1):
            connection.sendall(part)
            wanted = answers if number == len(parts) else number
            while len(_statuses(received)) < wanted and (chunk := connection.recv(65_536)):
                received += chunk
    return _statuses(received)


def _statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]


def _chunked(body: bytes) -> bytes:
    halves = (body[:20], body[20:])
    return b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"


def test_a_chunked_body_is_read(shop: Shop) -> None:
    request = _head(shop, "Transfer-Encoding: chunked") + _chunked(_body(shop, unique()))
    assert _exchange(shop, request) == [201]


def test_a_client_that_asks_first_is_told_to_go_on(shop: Shop) -> None:
    body = _body(shop, unique())
    head = _head(shop, f"Content-Length: {len(body)}", "Expect: 100-continue")
    assert _exchange(shop, head, body, answers=2) == [100, 201]


def test_a_client_of_http_1_0_is_answered(shop: Shop) -> None:
    body = _body(shop, unique())
    request = _head(shop, f"Content-Length: {len(body)}", version="1.0") + body
    assert _exchange(shop, request) == [201]


def test_two_posts_in_one_segment_are_both_answered(shop: Shop) -> None:
    bodies = [_body(shop, unique()) for _ in range(2)]
    requests = [_head(shop, f"Content-Length: {len(body)}") + body for body in bodies]
    assert _exchange(shop, b"".join(requests), answers=2) == [201, 201]
    assert shop.totals() == (2, 200, 60)


def test_a_body_with_two_lengths_is_refused(shop: Shop) -> None:
    body = _chunked(_body(shop, unique()))
    headers = (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked")
    assert _exchange(shop, _head(shop, *headers) + body) == [400]
    assert shop.listed() == []


def test_a_post_after_others_on_one_connection_has_its_own_body(shop: Shop) -> None:
    orders = [unique() for _ in range(3)]
    for order in orders:
        assert money(shop.sale(order_id=order)) == (100, 30)
    assert {row["order_id"] for row in shop.listed()} == set(orders)
