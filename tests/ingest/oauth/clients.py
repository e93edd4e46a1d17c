"""Provides an OAuth client of an edge in this process, as its developer has it."""

import base64
from dataclasses import dataclass
from urllib.parse import quote_plus

import httpx2
import msgspec

from linkjolt.registry import api_key_secrets
from linkjolt.registry.store import Registry
from tests.ingest.conftest import Shop
from tests.linkjolt.registry import samples

GRANT = {"grant_type": "client_credentials"}
SALE = {"tracking_code": "tc_ABC123", "order_value": 10}


@dataclass
class Program:
    """A program with the id and secret of a client."""

    http: httpx2.AsyncClient
    client_id: str
    secret: str

    @property
    def basic(self) -> str:
        return basic(self.client_id, self.secret)

    async def send(
        self, path: str, form: dict[str, str] | bytes, authorization: str | None = None
    ) -> httpx2.Response:
        """Posts a form, by HTTP Basic unless another header, or '' for none, is given."""
        sent = self.basic if authorization is None else authorization
        headers = {"Authorization": sent} if sent else {}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = form if isinstance(form, bytes) else str(httpx2.QueryParams(form)).encode()
        return await self.http.post(path, content=body, headers=headers)

    async def token(self, **fields: str) -> str:
        answer = await self.send("/oauth/token", {**GRANT, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    async def revoke(self, token: str) -> httpx2.Response:
        return await self.send("/oauth/revoke", {"token": token})


def basic(client_id: str, secret: str) -> str:
    """Composes the header of RFC 6749, 2.3.1."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


async def make_program(shop: Shop, *scopes: str, **fields: object) -> Program:
    """Creates a client with these scopes."""
    secret = api_key_secrets.make_client_secret()
    entry = msgspec.structs.replace(samples.client(secret, *scopes), **fields)
    client = await Registry(shop.redis).create(entry)
    return Program(shop.client, f"client_{client.number}", secret)


def refused(answer: httpx2.Response, status: int, error: str) -> bool:
    """Checks all that RFC 6749, 5.2 asks of a refusal."""
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, error), answer.text
    assert body.keys() == {"error", "error_description"}
    assert not {'"', "\\"} & {*body["error_description"]}
    assert body["error_description"].isascii()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers.get("www-authenticate", "").startswith("Basic ") == (status == 401)
    return True
