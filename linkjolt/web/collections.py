"""What all collections of the registry share over HTTP: create, page, read, patch, delete."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from linkjolt.api.registry_answers import Page
from linkjolt.api.registry_forms import IMMUTABLE
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, read_id
from linkjolt.registry.reads import KINDS, E
from linkjolt.registry.store import PAGE_MAX, Registry
from linkjolt.web.requests import decode, json_response, read_body, require_json

F = TypeVar("F", bound=msgspec.Struct)
P = TypeVar("P", bound=msgspec.Struct)


class Call(msgspec.Struct, frozen=True):
    """One authenticated request."""

    request: Request
    key: ApiKey
    now: datetime
    registry: Registry
    edge_url: str
    allow_private: bool = False

    @property
    def account(self) -> int:
        return self.key.account


Action = Callable[[Call], Awaitable[Response]]
# By method: the scope that it needs ("" for any valid key), and what it does.
Actions = Mapping[str, tuple[str, Action]]


class Collection(msgspec.Struct, Generic[E, F, P], frozen=True):
    """What one kind of entry has of its own; all else is the same for every kind."""

    entry: type[E]
    form: type[F]
    patch_form: type[P]
    read_scope: str
    write_scope: str
    create: Callable[[Call, F], Awaitable[object]]
    patch: Callable[[Call, E, P], E]
    answer: Callable[[Call, E], object]
    # What a patched entry refers to; Rejected where that is not there.
    check: Callable[[Call, E], Awaitable[None]] | None = None
    # Under which account the entries are.
    account: Callable[[Call], int] = lambda call: call.account

    def actions(self) -> Actions:
        """On the whole collection."""
        return {"GET": (self.read_scope, self.get_page), "POST": (self.write_scope, self.post)}

    def entry_actions(self) -> Actions:
        """On one entry."""
        return {
            "GET": (self.read_scope, self.get_one),
            "PATCH": (self.write_scope, self.change),
            "DELETE": (self.write_scope, self.delete),
        }

    async def post(self, call: Call) -> Response:
        form = await body_of(call.request, self.form)
        return json_response(await self.create(call, form), 201)

    async def get_page(self, call: Call) -> Response:
        after, limit = page_of(call.request.query_params)
        page = await call.registry.page(self.entry, self.account(call), after, limit)
        data = [self.answer(call, entry) for entry in page.entries]
        cursor = None if page.after is None else str(page.after)
        return json_response(Page(data=data, next_cursor=cursor))

    async def get_one(self, call: Call) -> Response:
        entry = await call.registry.get(self.entry, self.account(call), self._number(call))
        return json_response(self.answer(call, entry))

    async def change(self, call: Call) -> Response:
        number = self._number(call)
        patch = await self._patch_body(call.request)
        if self.check:
            seen = await call.registry.get(self.entry, self.account(call), number)
            await self.check(call, self.patch(call, seen, patch))
        entry = await call.registry.patch(
            self.entry, self.account(call), number, lambda entry: self.patch(call, entry, patch)
        )
        return json_response(self.answer(call, entry))

    async def delete(self, call: Call) -> Response:
        await call.registry.delete(self.entry, self.account(call), self._number(call), call.now)
        return Response(status_code=204)

    def _number(self, call: Call) -> int:
        kind = KINDS[self.entry]
        number = read_id(kind, call.request.path_params["id"])
        if number is None:
            raise Rejected(Reason.not_found, f"there is no such {kind}")
        return number

    async def _patch_body(self, request: Request) -> P:
        try:
            return await body_of(request, self.patch_form)
        except Rejected as error:
            settled = error.field in IMMUTABLE[KINDS[self.entry]]
            if error.reason is Reason.unknown_field and settled:
                message = "cannot be changed"
                raise Rejected(Reason.invalid_field, message, field=error.field) from None
            raise


async def body_of(request: Request, form: type[F]) -> F:
    """The request's JSON as this form; Rejected, naming the field, for any other."""
    require_json(request)
    return decode(await read_body(request), form)


def page_of(query: Mapping[str, str]) -> tuple[int, int]:
    """`cursor` and `limit` of a list; Rejected, naming the parameter, for bad and unknown ones."""
    for name in query:
        if name not in ("cursor", "limit"):
            raise Rejected(Reason.unknown_field, "is not a known parameter", field=name[:64])
    cursor, limit = query.get("cursor", "0"), query.get("limit", "100")
    if not _digits(cursor):
        raise Rejected(Reason.invalid_field, "is not a cursor of this list", field="cursor")
    if not _digits(limit) or not 1 <= int(limit) <= PAGE_MAX:
        raise Rejected(Reason.invalid_field, f"must be from 1 to {PAGE_MAX}", field="limit")
    return int(cursor), int(limit)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
