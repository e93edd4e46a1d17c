"""The closed list of reasons for which anything is refused, and how each is answered."""

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """Why something was refused: the `code` of a problem answer, the `reason` of a reject."""

    malformed_json = "malformed_json"
    too_deep = "too_deep"
    body_too_large = "body_too_large"
    unsupported_media_type = "unsupported_media_type"
    bad_request = "bad_request"
    url_too_long = "url_too_long"
    head_too_large = "head_too_large"
    head_timeout = "head_timeout"
    missing_field = "missing_field"
    unknown_field = "unknown_field"
    invalid_field = "invalid_field"
    unknown_tracking_code = "unknown_tracking_code"
    unknown_reference = "unknown_reference"
    unauthorized = "unauthorized"
    forbidden = "forbidden"
    not_found = "not_found"
    method_not_allowed = "method_not_allowed"
    gone = "gone"
    conflict = "conflict"
    tracking_code_taken = "tracking_code_taken"
    coupon_code_taken = "coupon_code_taken"
    not_adjustable = "not_adjustable"
    amount_exceeds = "amount_exceeds"
    idempotency_key_reused = "idempotency_key_reused"
    target_refused = "target_refused"
    too_costly = "too_costly"
    prefetch_declined = "prefetch_declined"
    not_ready = "not_ready"
    unavailable = "unavailable"
    internal = "internal"
    # Refused after the answer, by the aggregator: these appear only in the rejects table.
    undecodable = "undecodable"
    repeated_event = "repeated_event"
    repeated_order = "repeated_order"
    conversion_missing = "conversion_missing"
    purged = "purged"


STATUS: dict[Reason, int] = {
    Reason.malformed_json: 400,
    Reason.too_deep: 400,
    Reason.body_too_large: 413,
    Reason.unsupported_media_type: 415,
    Reason.bad_request: 400,
    Reason.url_too_long: 414,
    Reason.head_too_large: 431,
    Reason.head_timeout: 408,
    Reason.missing_field: 422,
    Reason.unknown_field: 422,
    Reason.invalid_field: 422,
    Reason.unknown_tracking_code: 422,
    Reason.unknown_reference: 422,
    Reason.unauthorized: 401,
    Reason.forbidden: 403,
    Reason.not_found: 404,
    Reason.method_not_allowed: 405,
    Reason.gone: 410,
    Reason.conflict: 409,
    Reason.tracking_code_taken: 409,
    Reason.coupon_code_taken: 409,
    Reason.not_adjustable: 409,
    Reason.amount_exceeds: 422,
    Reason.idempotency_key_reused: 422,
    Reason.target_refused: 422,
    Reason.too_costly: 422,
    Reason.prefetch_declined: 503,
    Reason.not_ready: 503,
    Reason.unavailable: 503,
    Reason.internal: 500,
    Reason.undecodable: 422,
    Reason.repeated_event: 200,
    Reason.repeated_order: 409,
    Reason.conversion_missing: 404,
    Reason.purged: 410,
}

TITLES: dict[Reason, str] = {
    reason: reason.value.replace("_", " ").capitalize() for reason in Reason
}


class FieldError(msgspec.Struct, frozen=True):
    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every refusal: problem+json, RFC 9457, with our `code` and `request_id`."""

    type: str
    title: str
    status: int
    detail: str
    code: Reason
    errors: tuple[FieldError, ...] = ()
    request_id: str = ""


class Rejected(Exception):
    """The sender's fault (or a dependency away): carries what the one answer needs."""

    def __init__(self, reason: Reason, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field

    @property
    def status(self) -> int:
        return STATUS[self.reason]

    def problem(self, request_id: str) -> Problem:
        errors = (FieldError(self.field, self.message),) if self.field else ()
        return Problem(
            type=f"urn:linkjolt:problem:{self.reason}",
            title=TITLES[self.reason],
            status=self.status,
            detail=self.message,
            code=self.reason,
            errors=errors,
            request_id=request_id,
        )
