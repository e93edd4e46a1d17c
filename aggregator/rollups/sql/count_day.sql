-- Inserts unique clicks of days, basis 3: the difference to the counts so far, so that all rows of a
-- key add up. `clicks` is the number of clicks of people that they are based on. One block, as a pull.
SELECT
    account, time, campaign, affiliate, link, '' AS verdict, '' AS currency,
    toUInt8(3) AS basis, {month:UInt32} AS month, dimension, value,
    people - counted_people AS clicks,
    arrayReduce('uniqCombined64State(16)', emptyArrayUInt64()) AS visitors,
    visitors_of_day - counted_visitors AS unique_clicks
FROM (
    SELECT
        account, time, campaign, affiliate, link, dimension, value,
        sumIf(cell.clicks, basis = 0) AS people,
        sumIf(cell.clicks, basis = 3) AS counted_people,
        sum(cell.unique_clicks) AS counted_visitors,
        uniqCombined64Merge(16)(cell.visitors) AS estimate,
        toInt64($unbiased) AS visitors_of_day
    FROM $cells AS cell
    WHERE account != 0 AND dimension IN ($dimensions) AND time IN ($days)
        AND (basis = 3 OR $people)
    GROUP BY account, time, campaign, affiliate, link, dimension, value
)
WHERE people != counted_people OR visitors_of_day != counted_visitors
ORDER BY account
SETTINGS max_threads = 1, max_block_size = 100000000
