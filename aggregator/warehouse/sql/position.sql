SELECT max(raw.pos) AS pos FROM {table:Identifier} AS raw
WHERE account = 0 AND s = {s:UInt16} AND raw.pos > {after:UInt64}
