-- All rows in the order of their chains; repeated ones are beside each other.
SELECT {columns} FROM audit_log ORDER BY account, seq, pos, uid
