-- Those of some entries that are stored.
SELECT DISTINCT uid FROM audit_log WHERE uid IN {uids:Array(String)}
