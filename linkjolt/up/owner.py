"""Makes the first owner of an installation, and the link that lets that person in once."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt.auth.audit_sources import source_of_command
from linkjolt.auth.people.one_time_links import OneTimeLinks, link_url
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import User
from linkjolt.registry.store import Registry
from linkjolt.runtime.instance import write_private


async def owner_link(redis: Redis, reports_url: str) -> str | None:
    """Returns a link that opens the dashboard as its owner; None once one was used.

    None, too, where other people were invited: then they know how to get in.
    """
    registry = Registry(redis, source=source_of_command("up"))
    page = await registry.page(User, ACCOUNT_DEFAULT, limit=2)
    match page.entries:
        case []:
            owner = await registry.create(_owner(datetime.now(UTC)))
        case [User(joined_at=None, email="") as owner]:
            # Of the links of earlier starts only a hash is left: they are void from now on.
            owner = await registry.patch(User, ACCOUNT_DEFAULT, owner.number, _with_new_links)
        case _:
            return None
    token = await OneTimeLinks(redis).make(owner, "first")
    return link_url(reports_url, "first", token)


def show_link(link: str | None, data: str, *, on_terminal: bool) -> str:
    """Returns the line about the link; it is shown to a person, what else reads has a file."""
    path = Path(data, "owner-link.txt")
    if link is None or on_terminal:
        path.unlink(missing_ok=True)
    if link is None:
        return ""
    if on_terminal:
        return f"Sign in:    {link} (once)\n"
    write_private(path, f"{link}\n".encode())
    return f"Sign in:    by the link in {path}, which only this user can read (once)\n"


def _owner(now: datetime) -> User:
    return User(
        number=0, account=ACCOUNT_DEFAULT, email="", name="Owner", role="owner", created_at=now
    )


def _with_new_links(user: User) -> User:
    return msgspec.structs.replace(user, epoch=user.epoch + 1)
