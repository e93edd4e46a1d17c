"""Declares people as they are stored in Redis."""

from datetime import datetime
from typing import Literal

import msgspec

from linkjolt.datasets import Account

Role = Literal["owner", "manager", "finance", "viewer"]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person who signs in; `email`, in lower case, is unique over the installation.

    It and `password`, an argon2id hash, are '' until they are set. `totp` is the sealed secret of
    codes, `totp_pending` one that no code has confirmed, `totp_step` the time step of the last code
    that was used, `recovery_codes` the SHA-256 of those left. Sessions and one-time links of
    another `epoch` are void. Whoever followed a link has `joined_at`.
    `signed_in_at` is of the last sign-in by a password or a link.
    """

    number: int
    account: Account
    email: str
    name: str
    role: Role
    status: Literal["active", "disabled"] = "active"
    password: str = ""
    totp: str = ""
    totp_pending: str = ""
    totp_step: int = 0
    recovery_codes: tuple[str, ...] = ()
    epoch: int = 0
    joined_at: datetime | None = None
    signed_in_at: datetime | None = None
    created_at: datetime
    deleted_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        return self.status == "active" and self.deleted_at is None

    @property
    def is_owner(self) -> bool:
        """Returns whether the person can act as an owner: invited ones cannot yet."""
        return self.role == "owner" and self.is_active and self.joined_at is not None

    def __repr__(self) -> str:
        return f"User({self.number})"
