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
    body_timeout = "body_timeout"
    unknown_transfer_coding = "unknown_transfer_coding"
    missing_field = "missing_field"
    unknown_field = "unknown_field"
    invalid_field = "invalid_field"
    unknown_tracking_code = "unknown_tracking_code"
    unknown_reference = "unknown_reference"
    unauthorized = "unauthorized"
    forbidden = "forbidden"
    https_required = "https_required"
    not_found = "not_found"
    method_not_allowed = "method_not_allowed"
    gone = "gone"
    conflict = "conflict"
    tracking_code_taken = "tracking_code_taken"
    coupon_code_taken = "coupon_code_taken"
    limit_reached = "limit_reached"
    not_adjustable = "not_adjustable"
    amount_exceeds = "amount_exceeds"
    too_many_waiting = "too_many_waiting"
    too_many_forged = "too_many_forged"
    too_many_requests = "too_many_requests"
    rate_limited = "rate_limited"
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
    Reason.body_timeout: 408,
    Reason.unknown_transfer_coding: 501,
    Reason.missing_field: 422,
    Reason.unknown_field: 422,
    Reason.invalid_field: 422,
    Reason.unknown_tracking_code: 422,
    Reason.unknown_reference: 422,
    Reason.unauthorized: 401,
    Reason.forbidden: 403,
    Reason.https_required: 403,
    Reason.not_found: 404,
    Reason.method_not_allowed: 405,
    Reason.gone: 410,
    Reason.conflict: 409,
    Reason.tracking_code_taken: 409,
    Reason.coupon_code_taken: 409,
    Reason.limit_reached: 409,
    Reason.not_adjustable: 409,
    Reason.amount_exceeds: 422,
    Reason.too_many_waiting: 429,
    Reason.too_many_forged: 429,
    Reason.too_many_requests: 429,
    Reason.rate_limited: 429,
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
    reason: reason.replace("_", " ").capitalize().replace("json", "JSON").replace("Url", "URL")
    for reason in Reason
}
TITLES[Reason.https_required] = "HTTPS required"


# Where a problem's `type` leads: a page with a section for every reason.
PROBLEMS_PATH = "/docs/errors"
ADVICE: dict[Reason, str] = {
    Reason.malformed_json: "Send a body that is valid JSON in UTF-8.",
    Reason.too_deep: "Send JSON with fewer levels of nesting.",
    Reason.body_too_large: "Send a smaller body, or split the entries over several requests.",
    Reason.unsupported_media_type: "Declare the body's media type in Content-Type as documented.",
    Reason.bad_request: "Correct the request as `detail` says.",
    Reason.url_too_long: "Shorten the URL: move parameters into the body, or leave some out.",
    Reason.head_too_large: "Send fewer or shorter headers and cookies.",
    Reason.head_timeout: "Send the whole head of the request at once.",
    Reason.body_timeout: "Send the body without pauses, over a faster connection or in parts.",
    Reason.unknown_transfer_coding: "Send the body with a Content-Length, or chunked.",
    Reason.missing_field: "Add the field that `errors` names.",
    Reason.unknown_field: "Remove the field that `errors` names, or correct its spelling.",
    Reason.invalid_field: "Correct the field that `errors` names as its message says.",
    Reason.unknown_tracking_code: "Send the tracking code of a link of this account.",
    Reason.unknown_reference: "Send the id of an object of this account that is not deleted.",
    Reason.unauthorized: "Send a valid API key as `Authorization: Bearer`.",
    Reason.forbidden: "Use a key with the scope that `detail` names.",
    Reason.https_required: "Send it to the https address, with another key: this one was readable.",
    Reason.not_found: "Check the path and the id.",
    Reason.method_not_allowed: "Use one of the methods that the Allow header lists.",
    Reason.gone: "Use another tracking link: this one is disabled or deleted.",
    Reason.conflict: "Read what is stored, then change that instead of sending other content.",
    Reason.tracking_code_taken: "Choose another tracking code, or leave it out to have one made.",
    Reason.coupon_code_taken: "Choose another coupon code, or delete the coupon that has it.",
    Reason.limit_reached: "Delete what is not used, or have the operator raise the bound.",
    Reason.not_adjustable: "Read the conversion's status: it does not allow this adjustment.",
    Reason.amount_exceeds: "Refund at most what is left of the order value.",
    Reason.too_many_waiting: "Post the conversions that adjustments wait for, then adjust others.",
    Reason.too_many_forged: "Send click ids as they came; try again after a minute.",
    Reason.too_many_requests: "Close what this key has open, or send the request again later.",
    Reason.rate_limited: "Wait the seconds in Retry-After, then send requests more slowly.",
    Reason.idempotency_key_reused: "Send a new Idempotency-Key with a new body.",
    Reason.target_refused: "Choose a public https address, or have the operator allow this one.",
    Reason.too_costly: "Ask for a shorter period, or for fewer dimensions.",
    Reason.prefetch_declined: "Ask when the visitor clicks, or when the page is shown.",
    Reason.not_ready: "Wait until the listener is ready.",
    Reason.unavailable: "Send the same request again after the seconds in Retry-After.",
    Reason.internal: "Send the request again; if it fails again, report its `request_id`.",
    Reason.undecodable: "Replay the reject after an upgrade: this version cannot read it.",
    Reason.repeated_event: "Nothing: the event was stored before.",
    Reason.repeated_order: "Nothing: the order was stored before, by another conversion.",
    Reason.conversion_missing: "Post the conversion first, then adjust it.",
    Reason.purged: "Nothing: the event is older than what is kept.",
}


class FieldError(msgspec.Struct, frozen=True):
    """A field, and a predicate that says what is wrong with it."""

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


class RefusedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Why one entry of many was refused."""

    status: int
    code: Reason
    errors: tuple[FieldError, ...]


class Rejected(Exception):
    """A refusal: the sender's fault, or a dependency's.

    With a `field` the message is a predicate of it ("is required"), else a clause; neither ends in
    a full stop, which `sentence` adds. `retry_after_seconds` other than 0 is sent as Retry-After.
    """

    def __init__(
        self, reason: Reason, message: str, *, field: str = "", retry_after_seconds: int = 0
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.reason = reason
        self.message = message
        self.field = field

    @property
    def status(self) -> int:
        return STATUS[self.reason]

    @property
    def sentence(self) -> str:
        """The message as a whole sentence, its subject the field."""
        if self.field:
            return f"{self.field} {self.message}."
        return f"{self.message[:1].upper()}{self.message[1:]}."

    def problem(self, request_id: str) -> Problem:
        errors = (FieldError(self.field, self.message),) if self.field else ()
        return Problem(
            type=f"{PROBLEMS_PATH}#{self.reason}",
            title=TITLES[self.reason],
            status=self.status,
            detail=self.sentence,
            code=self.reason,
            errors=errors,
            request_id=request_id,
        )

    def entry(self) -> RefusedEntry:
        """The result of one entry of many."""
        named = FieldError(self.field or "body", self.message)
        return RefusedEntry(status=self.status, code=self.reason, errors=(named,))
