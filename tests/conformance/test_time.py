"""Connections have the same time limits with fast clicks and without."""

import pytest

from linkjolt.web.connections.bounded_protocol import HEAD_SECONDS
from loadtests.edge_pair import KEY
from loadtests.wire import ParsedHeads, Wire, read_heads
from tests.conformance.cases import CLICK, post, request
from tests.conformance.clocked import Clocked, Running, rest_of

KEEP_ALIVE_SECONDS = 75
REFUSED = post(CLICK)
BODY_AT = len(REFUSED) - len(CLICK)
UNKNOWN = request("/nothing-here")


async def ask(wire: Wire, sent: bytes, whole: bytes = b"") -> int:
    """Returns the status of the answer to `sent`, a part of `whole`; the connection stays open."""
    wire.send(sent)
    methods = read_heads(whole or sent).methods
    answers = await wire.read(ParsedHeads(methods, "whole"))
    assert not answers.ended
    [status] = answers.statuses
    return status


def test_a_connection_that_sends_nothing_is_ended_without_an_answer(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            await edge.pass_time(HEAD_SECONDS - 0.1)
            assert not wire.reader.at_eof()
            await edge.pass_time(0.2)
            assert await rest_of(wire) == b""

    run(scenario)


def test_a_head_may_take_ten_seconds(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            wire.send(CLICK[:9])
            await edge.pass_time(HEAD_SECONDS - 0.1)
            assert await ask(wire, CLICK[9:], CLICK) == 302

    run(scenario)


@pytest.mark.parametrize(
    "first", [b"", CLICK, UNKNOWN], ids=["first", "after a click", "after 404"]
)
def test_a_head_that_drips_is_refused_after_ten_seconds(run: Running, first: bytes) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            if first:
                await ask(wire, first)
            wire.send(CLICK[:9])
            await edge.pass_time(HEAD_SECONDS * 0.6)
            wire.send(CLICK[9:20])
            await edge.pass_time(HEAD_SECONDS * 0.3)
            assert not wire.reader.at_eof()
            wire.send(CLICK[20:30])
            await edge.pass_time(HEAD_SECONDS * 0.2)
            refused = await rest_of(wire)
            assert refused.startswith(b"HTTP/1.1 408 ")
            assert b'"code":"head_timeout"' in refused

    run(scenario)


def test_a_body_of_a_known_sender_may_take_longer_than_a_head(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        sent = post(b"{}" + b" " * 10, f"Authorization: Bearer {KEY}")
        async with Wire.open(edge.port) as wire:
            wire.send(sent[:-2])
            await edge.pass_time(HEAD_SECONDS * 0.6)
            wire.send(sent[-2:-1])
            await edge.pass_time(HEAD_SECONDS * 0.6)
            assert await ask(wire, sent[-1:], sent) == 422

    run(scenario)


def test_a_known_sender_may_not_pause_for_ten_seconds(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        sent = post(b"{}", f"Authorization: Bearer {KEY}")
        async with Wire.open(edge.port) as wire:
            wire.send(sent[:-1])
            await edge.pass_time(9)
            assert not wire.reader.at_eof()
            await edge.pass_time(3)
            refused = await rest_of(wire)
        assert refused.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body_timeout"' in refused

    run(scenario)


def test_a_known_sender_may_not_drip(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        sent = post(b" " * 60_000 + b"{}", f"Authorization: Bearer {KEY}")
        async with Wire.open(edge.port) as wire:
            wire.send(sent[:20_000])
            for at in range(20_000, 20_019):
                await edge.pass_time(1)
                wire.send(sent[at : at + 1])
            assert not wire.reader.at_eof()
            await edge.pass_time(3)
            assert b"less than 4 KB/s" in await rest_of(wire)

    run(scenario)


@pytest.mark.parametrize("target", ["/postback", "/postback/keitaro"])
def test_a_whole_body_without_known_credentials_has_fifteen_seconds(
    run: Running, target: str
) -> None:
    async def scenario(edge: Clocked) -> None:
        sent = post(b"a=b&" * 100, target=target)
        async with Wire.open(edge.port) as wire:
            wire.send(sent[:-40])
            for at in range(14):
                await edge.pass_time(1)
                wire.send(sent[at - 40 : at - 39])
            assert not wire.reader.at_eof()
            await edge.pass_time(3)
            refused = await rest_of(wire)
        assert refused.startswith(b"HTTP/1.1 408 ")
        assert b"over 15 s" in refused

    run(scenario)


@pytest.mark.parametrize(
    "sent", [[CLICK], [UNKNOWN], [CLICK, UNKNOWN]], ids=["clicks", "404s", "both"]
)
def test_a_connection_rests_75_seconds_after_its_last_answer(
    run: Running, sent: list[bytes]
) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            for request in [*sent, *sent, *sent[::-1]]:
                await ask(wire, request)
                await edge.pass_time(KEEP_ALIVE_SECONDS - 2)
                assert not wire.reader.at_eof()
            await edge.pass_time(4)
            assert await rest_of(wire) == b""

    run(scenario)


@pytest.mark.parametrize("then", [b"", CLICK], ids=["nothing", "a click"])
def test_a_body_whose_answer_came_first_is_no_late_head(run: Running, then: bytes) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            assert await ask(wire, REFUSED[:BODY_AT], REFUSED) == 401
            wire.send(REFUSED[BODY_AT:])
            await edge.pass_time(KEEP_ALIVE_SECONDS - 2)
            assert not wire.reader.at_eof()
            if then:
                assert await ask(wire, then) == 302
                await edge.pass_time(KEEP_ALIVE_SECONDS - 2)
                assert not wire.reader.at_eof()
            await edge.pass_time(4)
            assert await rest_of(wire) == b""

    run(scenario)


@pytest.mark.parametrize("more", [b"", CLICK[:9]], ids=["none of it", "a part"])
def test_a_body_that_never_comes_is_not_waited_for(run: Running, more: bytes) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            assert await ask(wire, REFUSED[:BODY_AT], REFUSED) == 401
            wire.send(more)
            await edge.pass_time(HEAD_SECONDS - 1)
            assert not wire.reader.at_eof()
            await edge.pass_time(KEEP_ALIVE_SECONDS)
            assert await rest_of(wire) == b""

    run(scenario)
