-- The rows to which heads point, and perhaps others.
SELECT account, seq, hash FROM audit_log
WHERE account IN {accounts:Array(UInt32)} AND seq IN {seqs:Array(UInt64)}
