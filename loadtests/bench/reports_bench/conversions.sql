-- Inserts conversions number `first` up to `end`, spaced as the clicks; each is up to three days
-- after its click.
INSERT INTO conversions (
    account, campaign, affiliate, link, time, click_time, conversion_id, kind, event, order_id,
    status, attribution, currency, order_value_minor, commission_minor, conversions, pending,
    approved, rejected, verdict, country, language, device, os, browser, referrer_host, sub1, s, pos
)
WITH
    salt -> cityHash64(number, salt) / 18446744073709551616. AS chance,
    (most, salt) -> toUInt32(pow(most + 1, chance(salt))) AS zipf,
    {start_ms:Int64} + intDiv(toInt64(number) * {span_ms:Int64}, {count:Int64}) AS ms,
    zipf({links:UInt32}, 11) AS link_number,
    zipf(200, 12) - 1 AS country_number,
    chance(13) AS machine,
    chance(14) < 0.7 AS is_approved,
    toInt64(500 + 20000 * chance(15)) AS amount
SELECT
    {account:UInt32}, link_number % {campaigns:UInt32} + 1, link_number % {affiliates:UInt32} + 1,
    link_number,
    fromUnixTimestamp64Milli(ms, 'UTC'),
    fromUnixTimestamp64Milli(ms - toInt64(259200000 * chance(16)), 'UTC'),
    concat('conv_', hex(sipHash64(number))), 'created', 'sale', concat('order-', toString(number)),
    if(is_approved, 'approved', 'pending'), 'click', ['USD', 'USD', 'EUR', 'JPY'][zipf(4, 17)],
    amount, intDiv(amount * 3, 10), 1, toInt8(NOT is_approved), toInt8(is_approved), 0, 'human',
    concat(char(65 + intDiv(country_number, 26)), char(65 + country_number % 26)),
    ['en', 'de', 'pt', 'hi', 'es'][zipf(5, 18)],
    if(machine < 0.6, 'mobile', if(machine < 0.95, 'desktop', 'tablet')),
    multiIf(machine < 0.4, 'Android', machine < 0.6, 'iOS', machine < 0.85, 'Windows', 'macOS'),
    multiIf(machine < 0.4, 'Chrome', machine < 0.6, 'Safari', machine < 0.8, 'Chrome', 'Firefox'),
    concat('blog', toString(zipf(50, 19)), '.example'),
    if(chance(20) < 0.3, concat('ad', toString(zipf(20, 21))), ''),
    1, bitShiftLeft(toUInt64(ms + {lag_ms:Int64}), 20)
FROM numbers({first:UInt64}, {end:UInt64} - {first:UInt64})
