-- The newest row of each account, and the newest of all.
SELECT a.account AS account, max(a.seq) AS seq, argMax(a.hash, a.seq) AS hash, max(a.pos) AS pos
FROM audit_log AS a GROUP BY account
