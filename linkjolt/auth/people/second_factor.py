"""Makes and verifies the codes of authenticator apps (TOTP, RFC 6238), and recovery codes."""

import hmac
import secrets
from hashlib import sha256

import msgspec
import structlog
from pyotp import random_base32
from pyotp.totp import TOTP

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.people.entry import User
from linkjolt.registry.sealed.entries import open_totp
from linkjolt.registry.store import Registry
from linkjolt.storage.sealing import SealError

_log = structlog.get_logger()
_STEP_SECONDS = 30
# Steps before and after now whose codes are taken, for clocks differ.
_STEPS_OFF = 1
_RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_ISSUER = "LinkJolt"


def make_secret() -> str:
    return random_base32()


def secret_of(registry: Registry, user: User, stored: str) -> str:
    """Opens a secret as it is stored; Rejected where that cannot be done now."""
    try:
        return open_totp(user, stored, registry.opener)
    except SealError as error:
        _log.error("secret of codes not opened", error=str(error))
        raise Rejected(Reason.unavailable, "codes cannot be verified now") from None


def provisioning_uri(secret: str, user: User) -> str:
    """Returns the URI that an authenticator app reads from a QR code."""
    name = user.email or user.name
    return TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)


def matching_step(secret: str, code: str, now: float) -> int | None:
    """Returns the time step whose code this is; None for any other text."""
    if len(code) != 6 or not code.isascii() or not code.isdigit():
        return None
    totp = TOTP(secret)
    current = int(now) // _STEP_SECONDS
    matching = None
    for step in range(current - _STEPS_OFF, current + _STEPS_OFF + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            matching = step
    return matching


def use_code(registry: Registry, user: User, code: str, now: float) -> User | None:
    """Returns the person after a code was used, once; None where it is wrong or was used.

    A person without a second factor needs none. Only one of concurrent uses may be stored: whoever
    stores it compares what is replaced.
    """
    if not user.totp:
        return user
    text = code.replace(" ", "").replace("-", "")
    step = matching_step(secret_of(registry, user, user.totp), text, now)
    if step is not None:
        # A later code was used: an earlier one may have been looked at, too (RFC 6238, 5.2).
        return msgspec.structs.replace(user, totp_step=step) if step > user.totp_step else None
    used = _digest(text)
    left = tuple(one for one in user.recovery_codes if not hmac.compare_digest(one, used))
    if len(left) == len(user.recovery_codes):
        return None
    return msgspec.structs.replace(user, recovery_codes=left)


def make_recovery_codes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Makes codes, each for one use without the app; returns them, and their digests to store."""
    codes = tuple(secrets.token_hex(_RECOVERY_BYTES) for _ in range(_RECOVERY_CODES))
    shown = tuple("-".join(code[at : at + 5] for at in range(0, 20, 5)) for code in codes)
    return shown, tuple(map(_digest, codes))


def _digest(code: str) -> str:
    return sha256(code.lower().encode("utf-8", "surrogatepass")).hexdigest()
