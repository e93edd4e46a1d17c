"""The token endpoint answers by RFC 6749, and its tokens are what keys are."""

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import OAuthClient
from tests.ingest.conftest import Shop
from tests.ingest.oauth.clients import GRANT, SALE, Program, basic, make_program, refused

TOKEN = "/oauth/token"


@pytest.fixture
async def program(shop: Shop) -> Program:
    return await make_program(shop, "conversions:write", "links:read")


async def test_a_client_gets_a_token_of_all_its_scopes(program: Program) -> None:
    answer = await program.send(TOKEN, GRANT)
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["scope"]) == ("Bearer", "conversions:write links:read")
    assert body["expires_in"] == 3600
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"


async def test_a_token_posts_a_conversion(shop: Shop, program: Program) -> None:
    token = await program.token()
    answer = await shop.post({**SALE, "order_id": "o1"}, token)
    assert answer.status_code == 201, answer.text
    lines = b'{"tracking_code":"tc_ABC123","order_id":"o2","order_value":"20.00"}\n'
    many = await shop.post(lines, token, **{"Content-Type": "application/x-ndjson"})
    assert many.json()["accepted"] == 1, many.text
    assert [conversion.order_id for conversion in await shop.conversions()] == ["o1", "o2"]


async def test_a_token_has_the_scopes_that_it_was_asked_for(shop: Shop, program: Program) -> None:
    token = await program.token(scope="links:read")
    assert (await shop.get("/v1/links", token)).status_code == 200
    assert (await shop.post({**SALE, "order_id": "o1"}, token)).status_code == 403
    me = (await shop.get("/v1/me", token)).json()
    assert me["account"] == "default"
    assert (me["key"]["id"], me["key"]["name"]) == (program.client_id, "Warehouse")
    assert me["key"]["scopes"] == ["links:read"]
    expires_at = datetime.fromisoformat(me["key"]["expires_at"])
    assert timedelta(minutes=59) < expires_at - datetime.now(UTC) < timedelta(minutes=61)


async def test_an_adjustment_names_the_client_as_its_author(shop: Shop, program: Program) -> None:
    token = await program.token()
    posted = await shop.post({**SALE, "order_id": "o1"}, token)
    path = f"/v1/conversions/{posted.json()['conversion_id']}/adjustments"
    adjusted = await shop.post({"kind": "refund", "adjustment_id": "r1"}, token, path)
    assert adjusted.json()["adjustment"]["author"] == program.client_id, adjusted.text


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("links:read", "links:read"),
        ("links:read conversions:write", "links:read conversions:write"),
        ("links:read links:read", "links:read"),
        ("", "conversions:write links:read"),
    ],
)
async def test_scopes_are_granted_as_asked(program: Program, scope: str, granted: str) -> None:
    answer = await program.send(TOKEN, {**GRANT, "scope": scope})
    assert answer.json()["scope"] == granted


@pytest.mark.parametrize(
    "scope",
    ["admin", "links:write", "links:read admin", "everything", " links:read", "a  b", 'a"', "é"],
)
async def test_scopes_beyond_the_clients_are_invalid(program: Program, scope: str) -> None:
    assert refused(await program.send(TOKEN, {**GRANT, "scope": scope}), 400, "invalid_scope")


async def test_an_admin_client_gets_tokens_of_any_scope_that_exists(shop: Shop) -> None:
    program = await make_program(shop, "admin")
    assert (await program.send(TOKEN, {**GRANT, "scope": "links:read"})).status_code == 200
    assert refused(await program.send(TOKEN, {**GRANT, "scope": "none"}), 400, "invalid_scope")


async def test_a_client_may_authenticate_in_the_body(shop: Shop, program: Program) -> None:
    by_body = {**GRANT, "client_id": program.client_id, "client_secret": program.secret}
    assert (await program.send(TOKEN, by_body, "")).status_code == 200
    for change in ({"client_secret": "wrong"}, {"client_secret": ""}, {"client_id": ""}):
        assert refused(await program.send(TOKEN, {**by_body, **change}, ""), 401, "invalid_client")


def encoded(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


async def test_credentials_are_form_encoded_within_basic(program: Program) -> None:
    every = "".join(f"%{byte:02x}" for byte in program.secret.encode())
    for header in (
        encoded(f"{program.client_id}:{every}"),
        encoded(f"{program.client_id.replace('_', '%5F')}:{program.secret}"),
        f"bAsIc  {program.basic.removeprefix('Basic ')}",
    ):
        assert (await program.send(TOKEN, GRANT, header)).status_code == 200, header


async def test_other_credentials_are_refused_alike(shop: Shop, program: Program) -> None:
    other = await make_program(shop, "links:read")
    number = int(program.client_id.removeprefix("client_"))
    answers = [
        await program.send(TOKEN, GRANT, header)
        for header in (
            basic(program.client_id, other.secret),
            basic(program.client_id, program.secret + "a"),
            basic(program.client_id, program.secret[:-1]),
            basic(program.client_id, ""),
            basic("client_999", program.secret),
            basic(f"client_0{number}", program.secret),
            basic("key_1", shop.key),
            basic("", ""),
        )
    ]
    assert all(refused(answer, 401, "invalid_client") for answer in answers)
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic Y2xpZW50",
        "Basic /w==",
        encoded("client_1:%ff"),
        "Bearer lj_live_x",
        "Digest a=b",
    ],
)
async def test_credentials_that_cannot_be_read_are_refused(program: Program, header: str) -> None:
    assert refused(await program.send(TOKEN, GRANT, header), 401, "invalid_client")


async def test_a_client_authenticates_in_one_way_only(program: Program) -> None:
    for more in ({"client_secret": program.secret}, {"client_id": "client_999"}):
        assert refused(await program.send(TOKEN, {**GRANT, **more}), 400, "invalid_request")
    same = {**GRANT, "client_id": program.client_id}
    assert (await program.send(TOKEN, same)).status_code == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_request"),
        (b"grant_type=", "invalid_request"),
        (b"scope=links:read", "invalid_request"),
        (b"grant_type=password&username=a&password=b", "unsupported_grant_type"),
        (b"grant_type=Client_Credentials", "unsupported_grant_type"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        (b"grant_type=client_credentials&scope=links:read&scope=", "invalid_request"),
        (b"grant_type=client_credentials&x=1&x=2", "invalid_request"),
        (b"grant_type=client_credentials&scope=%ff", "invalid_request"),
        (b"grant_type=client_credentials\xff", "invalid_request"),
        (b"grant_type=client_credentials" + b"&" * 40 + b"a=1", "invalid_request"),
    ],
)
async def test_a_bad_form_is_refused(program: Program, body: bytes, error: str) -> None:
    assert refused(await program.send(TOKEN, body), 400, error)


async def test_unknown_parameters_are_ignored(program: Program) -> None:
    form = {**GRANT, "resource": "https://x.example", "audience": "all"}
    assert (await program.send(TOKEN, form)).status_code == 200


async def test_only_a_form_in_the_body_is_read(program: Program) -> None:
    headers = {"Authorization": program.basic}
    in_query = await program.http.post(f"{TOKEN}?grant_type=client_credentials", headers=headers)
    as_json = await program.http.post(TOKEN, json=GRANT, headers=headers)
    for answer in (in_query, as_json):
        assert refused(answer, 400, "invalid_request")
    large = await program.send(TOKEN, b"grant_type=client_credentials&a=" + b"a" * 9_000)
    assert refused(large, 413, "invalid_request")
    assert (await program.http.get(TOKEN)).status_code == 405


async def test_no_token_is_issued_to_a_deleted_or_expired_client(shop: Shop) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    program = await make_program(shop, "links:read", expires_at=soon)
    answer = await program.send(TOKEN, GRANT)
    assert 90 <= answer.json()["expires_in"] <= 100
    expired = await make_program(shop, "links:read", expires_at=datetime.now(UTC))
    assert refused(await expired.send(TOKEN, GRANT), 401, "invalid_client")
    number = int(program.client_id.removeprefix("client_"))
    await shop.registry.delete(OAuthClient, ACCOUNT_DEFAULT, number, datetime.now(UTC))
    await shop.edge.directory.clients.reload([number])
    assert refused(await program.send(TOKEN, GRANT), 401, "invalid_client")


async def test_a_test_clients_tokens_post_tests(shop: Shop) -> None:
    program = await make_program(shop, "conversions:write", "links:write", test=True)
    token = await program.token()
    assert (await shop.post({**SALE, "order_id": "o1"}, token)).status_code == 201
    (conversion,) = await shop.conversions()
    assert conversion.account == ACCOUNT_DEFAULT | 1 << 31
    form = {"name": "x", "currency": "USD", "commission": {"kind": "flat", "amount": 1}}
    assert (await shop.post(form, token, "/v1/campaigns")).status_code == 403
    assert (await shop.get("/v1/me", token)).json()["key"]["test"] is True


async def test_a_token_grants_nothing_that_outlives_it(shop: Shop) -> None:
    token = await (await make_program(shop, "keys:write", "links:read")).token()
    form = {"name": "k", "scopes": ["links:read"]}
    for path in ("/v1/keys", "/v1/oauth-clients"):
        answer = await shop.post(form, token, path)
        assert answer.status_code == 403, answer.text
        assert answer.json()["errors"][0]["field"] == "expires_at"


async def test_the_metadata_lead_to_the_endpoints(shop: Shop, program: Program) -> None:
    answer = await shop.client.get("/.well-known/oauth-authorization-server")
    assert answer.headers["content-type"] == "application/json"
    metadata = answer.json()
    assert metadata["issuer"] == shop.edge.settings.edge_url()
    assert metadata["response_types_supported"] == []
    assert metadata["grant_types_supported"] == ["client_credentials"]
    path = metadata["token_endpoint"].removeprefix(metadata["issuer"])
    assert (await program.send(path, GRANT)).status_code == 200
    path = metadata["revocation_endpoint"].removeprefix(metadata["issuer"])
    assert (await program.send(path, {"token": "x"})).status_code == 200


async def test_a_lifetime_is_set_by_the_operator(shop: Shop, program: Program) -> None:
    shop.edge.settings = msgspec.structs.replace(shop.edge.settings, token_seconds=60)
    again = Program(shop.client, program.client_id, program.secret)
    assert (await again.send(TOKEN, GRANT)).json()["expires_in"] == 3600
