"""What a conversion is answered with: JSON written out, for making objects of it costs twice."""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from linkjolt.events import ConversionState
from linkjolt.money import major_text
from linkjolt.registry import public_id

_encode = msgspec.json.Encoder().encode


def answer(of: ConversionState, *, duplicate: bool = False, status: str = "") -> bytes:
    """The answer to a post, and to reading the conversion; amounts in major units.

    `status` stands in place of the conversion's own. Every text that a sender chose is encoded.
    """
    affiliate = f'"{public_id("affiliate", of.affiliate)}"' if of.affiliate else "null"
    campaign = f'"{public_id("campaign", of.campaign)}"' if of.campaign else "null"
    click_id = f'"{of.click_id}"' if of.click_id else "null"
    order_id = _encode(of.order_id).decode() if of.order_id else "null"
    reason = f'"{of.reason}"' if of.reason else "null"
    currency = of.currency
    return (
        f'{{"conversion_id":"{of.conversion_id}","status":"{status or of.status}",'
        f'"event":"{of.event}","order_id":{order_id},"affiliate_id":{affiliate},'
        f'"campaign_id":{campaign},"click_id":{click_id},'
        f'"order_value":{major_text(of.order_value_minor, currency)},'
        f'"commission_amount":{major_text(of.commission_minor, currency)},'
        f'"currency":"{currency}",'
        f'"attribution":{{"method":"{of.attribution}","reason":{reason}}},'
        f'"duplicate":{"true" if duplicate else "false"},"timestamp":{_instant(of.time_ms)}}}'
    ).encode()


@lru_cache(maxsize=256)
def _instant(time_ms: int) -> str:
    # Conversions come with the time at which they are taken: thousands share a millisecond.
    return _encode(datetime.fromtimestamp(time_ms / 1000, UTC)).decode()
