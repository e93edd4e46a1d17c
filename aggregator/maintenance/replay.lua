-- Appends one event again, marked, so that the aggregator looks it up before it stores it.
-- KEYS: stream, ledger. ARGV: frame (one line).
append(KEYS[1], KEYS[2], ARGV[1], 1, 'r')
