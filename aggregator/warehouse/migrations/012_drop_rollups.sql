-- Those whose states of visitors had 16,384 registers: they cannot be turned into larger ones.
DROP TABLE IF EXISTS rollup_minute, rollup_quarter, rollup_dimension, rollup_day {on_cluster} SYNC
