-- Inserts a reject for each stored test event, so that the balance stays even without its rows. Their
-- line numbers are past those of any frame, and the same when it is repeated.
INSERT INTO rejects (s, pos, line, account, reason, message, body)
SELECT
    s, pos, toUInt32(1000000 + cityHash64(conversion_id, adjustment_id) % 2000000000) AS line,
    account, {reason:String}, 'a test event', if(adjustment_id = '', conversion_id, adjustment_id)
FROM conversions
WHERE account >= {least:UInt32} AND kind != 'detached'
