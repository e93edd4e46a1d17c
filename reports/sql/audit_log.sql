-- Lists an account's audit log, the newest first.
SELECT seq, time_ms, actor, actor_name, operation, object, changes, status, request_id, address,
    key_hint, count, hash
FROM audit_log
WHERE account = {account:UInt32}
    AND seq < {before:UInt64}
    AND time_ms >= {start_ms:Int64} AND time_ms < {end_ms:Int64}
    AND ({actor:String} = '' OR actor = {actor:String})
    AND ({operation:String} = '' OR operation = {operation:String})
    AND ({object:String} = '' OR object = {object:String})
ORDER BY seq DESC
LIMIT {limit:UInt32}
