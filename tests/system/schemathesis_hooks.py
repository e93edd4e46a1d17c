"""Teaches schemathesis to send NDJSON as the text that the document declares it to be."""

import schemathesis

schemathesis.serializer.alias(
    ["application/x-ndjson", "application/ndjson", "application/jsonl"], "text/plain"
)
