SELECT max(pos) AS pos FROM {table:Identifier} WHERE account = 0 AND s = {s:UInt16}
