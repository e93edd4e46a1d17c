-- Inserts cells and marker as one block of one partition, hence one part: both are stored or none.
-- The marker (account 0, link = stream) holds the position up to which the cells are complete.
-- The cells are merged already; merging them again on insert took a third of a pull.
-- By one thread, and with a token also in one piece (`IN_ONE_PIECE`): otherwise each piece gets a
-- part of the token, and a second pull from the same position with another number of pieces is not
-- recognized as a repeat.
INSERT INTO $rollup ($columns)
SETTINGS optimize_on_insert = 0, max_threads = 1, max_block_size = 100000000
SELECT $cell_columns FROM (
    $cells
    UNION ALL
    SELECT
        toUInt32(0) AS account, toDateTime(0, 'UTC') AS bucket, toUInt32(0) AS campaign,
        toUInt32(0) AS affiliate, toUInt32({s:UInt16}) AS link, '' AS verdict, '' AS currency,
        toUInt8(0) AS basis, {month:UInt32} AS month, '' AS dimension, '' AS value,
        toInt64(0) AS clicks,
        arrayReduce('uniqCombined64State(16)', emptyArrayUInt64()) AS visitors,
        toInt64(0) AS conversions, toInt64(0) AS pending, toInt64(0) AS approved,
        toInt64(0) AS rejected, toInt64(0) AS revenue_minor, toInt64(0) AS commission_minor,
        toInt64(0) AS unverified, toInt64(0) AS clawback_minor,
        {end_position:UInt64} AS watermark
)
