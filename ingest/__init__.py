"""The edge: HTTP in, streams out. The only writer of events."""
