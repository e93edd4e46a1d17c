-- Inserts clicks number `first` up to `end`, evenly spaced in time: links, countries, referrers and
-- visitors by Zipf's law; columns that most clicks leave empty are empty. A visitor's hash changes
-- with the UTC day, as the aggregator's salt does.
INSERT INTO clicks (
    account, link, time, click_id, campaign, affiliate, verdict, ruleset, visitor, ip, country,
    language, device, os, browser, referrer_host, sub1, s, pos
)
WITH
    salt -> cityHash64(number, salt) / 18446744073709551616. AS chance,
    (most, salt) -> toUInt32(pow(most + 1, chance(salt))) AS zipf,
    {start_ms:Int64} + intDiv(toInt64(number) * {span_ms:Int64}, {count:Int64}) AS ms,
    zipf({links:UInt32}, 1) AS link_number,
    zipf(200, 2) - 1 AS country_number,
    chance(3) AS kind,
    chance(4) AS machine
SELECT
    {account:UInt32}, link_number, fromUnixTimestamp64Milli(ms, 'UTC'), hex(sipHash128(number)),
    link_number % {campaigns:UInt32} + 1, link_number % {affiliates:UInt32} + 1,
    multiIf(kind < 0.9, 'human', kind < 0.95, 'duplicate', kind < 0.99, 'bot', 'prefetch'), 1,
    cityHash64(intDiv(ms, 86400000), zipf({visitors:UInt32}, 5)),
    concat('10.', toString(country_number), '.0.0'),
    concat(char(65 + intDiv(country_number, 26)), char(65 + country_number % 26)),
    ['en', 'de', 'pt', 'hi', 'es'][zipf(5, 6)],
    if(machine < 0.6, 'mobile', if(machine < 0.95, 'desktop', 'tablet')),
    multiIf(machine < 0.4, 'Android', machine < 0.6, 'iOS', machine < 0.85, 'Windows', 'macOS'),
    multiIf(machine < 0.4, 'Chrome', machine < 0.6, 'Safari', machine < 0.8, 'Chrome', 'Firefox'),
    concat('blog', toString(zipf(50, 7)), '.example'),
    if(chance(8) < 0.3, concat('ad', toString(zipf(20, 9))), ''),
    0, bitShiftLeft(toUInt64(ms + {lag_ms:Int64}), 20)
FROM numbers({first:UInt64}, {end:UInt64} - {first:UInt64})
