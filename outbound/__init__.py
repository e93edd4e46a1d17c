"""The webhooks process: streams in, signed HTTP out."""
