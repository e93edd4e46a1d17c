"""A click is judged by its kind of request and its user agent."""

import pytest

from aggregator.rows.verdicts import Verdict, judge
from linkjolt.clicks.user_agent import AGENT_MAX_CHARACTERS, AgentKind, parse_user_agent
from linkjolt.datasets import Dataset
from linkjolt.events import Click
from linkjolt.verdict_reasons import SENTENCES, VerdictReason
from tests.aggregator.rows.agents import BOTS, PEOPLE, PREVIEWS

AGENTS = [row[0] for row in (*PEOPLE, *BOTS, *PREVIEWS)]


def a_click(user_agent: str) -> Click:
    return Click(
        click_id="0" * 26,
        account=Dataset(1),
        link=1,
        campaign=1,
        affiliate=1,
        user_agent=user_agent,
    )


def verdict_of(click: Click) -> tuple[str, str]:
    verdict = judge(click, parse_user_agent(click.user_agent))
    return verdict.verdict, verdict.reason


@pytest.mark.parametrize(("user_agent", "device", "os", "browser"), PEOPLE)
def test_a_persons_browser_is_human_and_described(
    user_agent: str, device: str, os: str, browser: str
):
    agent = parse_user_agent(user_agent)
    assert (agent.device, agent.os, agent.browser, agent.crawler) == (device, os, browser, "")
    assert verdict_of(a_click(user_agent)) == ("human", "")


@pytest.mark.parametrize(("user_agent", "reason", "name"), BOTS)
def test_a_crawler_is_a_bot_with_its_reason_and_name(user_agent: str, reason: str, name: str):
    assert parse_user_agent(user_agent).crawler == name
    assert verdict_of(a_click(user_agent)) == ("bot", reason)


@pytest.mark.parametrize(("user_agent", "name"), PREVIEWS)
def test_a_link_preview_differs_from_a_bot(user_agent: str, name: str):
    agent = parse_user_agent(user_agent)
    assert (agent.device, agent.crawler) == ("bot", name)
    assert verdict_of(a_click(user_agent)) == ("preview", "link_preview")


@pytest.mark.parametrize("user_agent", AGENTS)
def test_what_is_no_click_comes_before_who_sent_it(user_agent: str):
    head = Click(
        click_id="0" * 26,
        account=Dataset(1),
        link=1,
        campaign=1,
        affiliate=1,
        user_agent=user_agent,
        kind="head",
    )
    prefetch = Click(
        click_id="0" * 26,
        account=Dataset(1),
        link=1,
        campaign=1,
        affiliate=1,
        user_agent=user_agent,
        kind="prefetch",
    )
    assert verdict_of(head) == ("head", "head_request")
    assert verdict_of(prefetch) == ("prefetch", "prefetch_request")


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(VerdictReason)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())


def test_every_kind_of_agent_has_a_verdict_of_its_own():
    verdicts: set[Verdict] = set()
    for user_agent in AGENTS:
        verdicts.add(judge(a_click(user_agent), parse_user_agent(user_agent)))
    assert {parse_user_agent(user_agent).kind for user_agent in AGENTS} == set(AgentKind)
    assert len(verdicts) == len(AgentKind)


def test_an_endless_agent_is_read_by_its_start():
    start = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0 ".ljust(
        AGENT_MAX_CHARACTERS, "x"
    )
    assert parse_user_agent(start + " Googlebot/2.1" * 10_000) == parse_user_agent(start)
