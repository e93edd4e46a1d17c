"""Serves a collection of the registry over HTTP: create, list, read, patch, delete."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, EntryKind, parse_public_id
from linkjolt.registry.lists.index import RegistryLists
from linkjolt.registry.lists.query import (
    SEARCH_MAX,
    VALUES_MAX,
    parse_limit,
    parse_list_query,
    sorts_of,
    unique_parameters,
)
from linkjolt.registry.lists.rows import list_fields
from linkjolt.registry.reads import ENTRY_KINDS, E
from linkjolt.registry.store import Owner, Registry
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.settings import SharedSettings
from linkjolt.web.forms import IMMUTABLE
from linkjolt.web.openapi import Operation, Parameter, counted_page_of, of, paging
from linkjolt.web.requests import decode, json_response, read_body, require_json

F = TypeVar("F", bound=msgspec.Struct)
P = TypeVar("P", bound=msgspec.Struct)


class Call(msgspec.Struct, frozen=True):
    """One authenticated request."""

    request: Request
    key: ApiKey
    now: datetime
    registry: Registry
    lists: RegistryLists
    settings: SharedSettings

    @property
    def account(self) -> Account:
        return self.key.account

    @property
    def edge_url(self) -> str:
        return self.settings.edge_url()


Action = Callable[[Call], Awaitable[Response]]


class Endpoint(msgspec.Struct, frozen=True):
    """An operation, and the action that answers it for a key with the operation's scope."""

    operation: Operation
    action: Action


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list; `next_cursor` is null on the last one, `total` counts all pages."""

    data: list[object]
    total: int | UnsetType = UNSET
    next_cursor: str | None


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """How the document describes a collection: its words, the types answered, examples.

    `id` ends the ids of its operations (`createCampaign`); `created` is the type that answers a
    creation where it shows more than `answer`, and `created_example` its example. Entries that
    cannot be patched have no `patch_example`.
    """

    id: str
    tag: str
    noun: str
    note: str
    answer: type[msgspec.Struct]
    form_example: Mapping[str, object]
    example: Mapping[str, object]
    patch_example: Mapping[str, object] = {}
    created: type[msgspec.Struct] | None = None
    created_example: Mapping[str, object] | None = None


class Collection(msgspec.Struct, Generic[E, F, P], frozen=True, kw_only=True):
    """What one kind of entry has of its own; all else is the same for every kind."""

    path: str
    described: Described
    entry: type[E]
    form: type[F]
    read_scope: str
    write_scope: str
    create: Callable[[Call, F], Awaitable[object]]
    answer: Callable[[Call, E], object]
    # Answers several entries at once, where their answers need more than the entries.
    answer_all: Callable[[Call, Sequence[E]], Awaitable[Sequence[object]]] | None = None
    # Whether the key of the call may see an entry; others are missing to it.
    is_visible: Callable[[ApiKey, E], bool] | None = None
    # None where an entry is never changed.
    patch_form: type[P] | None = None
    patch: Callable[[Call, E, P], E] | None = None
    # Checks the references of a patched entry; Rejected where one leads nowhere.
    check: Callable[[Call, E], Awaitable[None]] | None = None
    # Rejected where the key of the call may not delete the entry.
    check_delete: Callable[[Call, E], None] | None = None
    # Deletes what an entry had elsewhere, after the entry.
    forget: Callable[[Call, int], Awaitable[None]] | None = None
    # Whose the entries are.
    owner: Callable[[Call], Owner] = lambda call: call.account
    # Whether an entry is live or for tests, so that test keys may write those for tests.
    has_modes: bool = False

    def endpoints(self) -> list[Endpoint]:
        """The endpoints of the whole collection and of one entry."""
        endpoints = [
            Endpoint(self._list_operation(), self.get_page),
            Endpoint(self._create_operation(), self.post),
            Endpoint(self._get_operation(), self.get_one),
        ]
        if self.patch_form and self.patch:
            change = self._changing(self.patch_form, self.patch)
            endpoints.append(Endpoint(self._update_operation(self.patch_form), change))
        return [*endpoints, Endpoint(self._delete_operation(), self.delete)]

    def _list_operation(self) -> Operation:
        described = self.described
        return Operation(
            id=f"list{described.id}s",
            tag=described.tag,
            method="GET",
            path=self.path,
            summary=f"List {described.noun}s.",
            description=f"Returns the account's {described.noun}s that pass all filters, a page at"
            " a time; `total` counts those of all pages.",
            scope=self.read_scope,
            narrows=self.is_visible is not None,
            parameters=(*paging(), *_list_parameters(ENTRY_KINDS[self.entry])),
            answers={200: counted_page_of(described.answer, described.example)},
        )

    def _create_operation(self) -> Operation:
        described = self.described
        example = described.created_example or described.example
        return Operation(
            id=f"create{described.id}",
            tag=described.tag,
            method="POST",
            path=self.path,
            summary=f"Create {_a(described.noun)}.",
            description=described.note,
            scope=self.write_scope,
            live_only=not self.has_modes,
            bodies=[of(self.form, example=described.form_example)],
            answers={201: of(described.created or described.answer, example=example)},
            refusals=(409,),
        )

    def _get_operation(self) -> Operation:
        described = self.described
        return Operation(
            id=f"get{described.id}",
            tag=described.tag,
            method="GET",
            path=f"{self.path}/{{id}}",
            summary=f"Get {_a(described.noun)}.",
            description=f"Returns one {described.noun} as it is now.",
            scope=self.read_scope,
            narrows=self.is_visible is not None,
            answers={200: of(described.answer, example=described.example)},
            refusals=(404,),
        )

    def _update_operation(self, patch_form: type[P]) -> Operation:
        described = self.described
        return Operation(
            id=f"update{described.id}",
            tag=described.tag,
            method="PATCH",
            path=f"{self.path}/{{id}}",
            summary=f"Update {_a(described.noun)}.",
            description="Sets the fields that are sent; all others stay as they are.",
            scope=self.write_scope,
            live_only=not self.has_modes,
            bodies=[of(patch_form, example=described.patch_example)],
            answers={
                200: of(described.answer, example={**described.example, **described.patch_example})
            },
            refusals=(404, 409),
        )

    def _delete_operation(self) -> Operation:
        described = self.described
        return Operation(
            id=f"delete{described.id}",
            tag=described.tag,
            method="DELETE",
            path=f"{self.path}/{{id}}",
            summary=f"Delete {_a(described.noun)}.",
            description=f"The {described.noun} disappears from lists; events that name it keep it.",
            scope=self.write_scope,
            live_only=not self.has_modes,
            answers={204: None},
            refusals=(404, 409),
        )

    async def post(self, call: Call) -> Response:
        form = await body_of(call.request, self.form)
        return json_response(await self.create(call, form), 201)

    async def get_page(self, call: Call) -> Response:
        kind = ENTRY_KINDS[self.entry]
        query = parse_list_query(kind, call.request.query_params.multi_items())
        if self.is_visible and call.key.affiliate:
            query = msgspec.structs.replace(query, seen_affiliate=call.key.affiliate)
        page = await call.lists.page(self.entry, self.owner(call), query)
        data = await self._answers(call, page.entries)
        return json_response(Page(data=data, total=page.total, next_cursor=page.next_cursor))

    async def get_one(self, call: Call) -> Response:
        entry = await call.registry.get(self.entry, self.owner(call), self._number(call))
        visible = self._visible_to(call.key)
        if visible and not visible(entry):
            raise _no_such(ENTRY_KINDS[self.entry])
        return json_response((await self._answers(call, [entry]))[0])

    def _visible_to(self, key: ApiKey) -> Callable[[E], bool] | None:
        return partial(self.is_visible, key) if self.is_visible and key.affiliate else None

    async def _answers(self, call: Call, entries: Sequence[E]) -> list[object]:
        if self.answer_all:
            return [*await self.answer_all(call, entries)]
        return [self.answer(call, entry) async for entry in in_slices(entries)]

    def _changing(self, patch_form: type[P], apply: Callable[[Call, E, P], E]) -> Action:
        async def change(call: Call) -> Response:
            number = self._number(call)
            patch = await self._patch_body(call.request, patch_form)
            if self.check:
                seen = await call.registry.get(self.entry, self.owner(call), number)
                await self.check(call, apply(call, seen, patch))
            entry = await call.registry.patch(
                self.entry, self.owner(call), number, lambda entry: apply(call, entry, patch)
            )
            return json_response((await self._answers(call, [entry]))[0])

        return change

    async def delete(self, call: Call) -> Response:
        number = self._number(call)
        check = partial(self.check_delete, call) if self.check_delete else None
        await call.registry.delete(self.entry, self.owner(call), number, call.now, check)
        if self.forget:
            await self.forget(call, number)
        return Response(status_code=204)

    def _number(self, call: Call) -> int:
        return entry_number(call, ENTRY_KINDS[self.entry])

    async def _patch_body(self, request: Request, patch_form: type[P]) -> P:
        try:
            return await body_of(request, patch_form)
        except Rejected as error:
            settled = error.field in IMMUTABLE[ENTRY_KINDS[self.entry]]
            if error.reason is Reason.unknown_field and settled:
                message = "cannot be changed"
                raise Rejected(Reason.invalid_field, message, field=error.field) from None
            raise


def entry_number(call: Call, kind: EntryKind) -> int:
    """The number in the path's id; Rejected where it is no id of this kind."""
    number = parse_public_id(kind, call.request.path_params["id"])
    if number is None:
        raise _no_such(kind)
    return number


def _no_such(kind: EntryKind) -> Rejected:
    return Rejected(Reason.not_found, f"there is no such {kind}")


async def body_of(request: Request, form: type[F]) -> F:
    """The request's JSON as this form; Rejected, naming the field, for any other."""
    require_json(request)
    return decode(await read_body(request), form)


def page_of(parameters: QueryParams) -> tuple[int, int]:
    """`cursor` and `limit` of a plain list; Rejected, naming it, for a bad or unknown parameter."""
    values = unique_parameters(parameters.multi_items(), {"cursor", "limit"})
    after = parse_whole_number(values.get("cursor", "0"))
    if after is None:
        raise Rejected(Reason.invalid_field, "is not a cursor of this list", field="cursor")
    return after, parse_limit(values.get("limit", "100"))


def _list_parameters(kind: EntryKind) -> Iterator[Parameter]:
    fields = list_fields(kind)
    text = {"type": "string", "maxLength": SEARCH_MAX}
    searched = f"Only {kind}s with this text, in any letter case, in {fields.searched}; or its id."
    yield Parameter("q", searched, text)
    yield Parameter("id", f"Only the {kind}s with these ids, up to {VALUES_MAX} by comma.")
    if fields.statuses:
        yield Parameter("status", "Only those in it.", {"enum": [*fields.statuses]})
    for reference in fields.references:
        yield Parameter(f"{reference}_id", f"Only those of this {reference}, or of several.")
    sorts = [sign + name for name in sorts_of(fields) for sign in ("", "-")]
    yield Parameter("sort", "The order; `-` begins at the end.", {"enum": sorts, "default": "id"})


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aAO" else f"a {noun}"
