-- Selects conversions in their current state: status, campaign, affiliate and link are those of the
-- latest row, amounts are the sums of all rows, the order value that before refunds. All rows of a
-- conversion have its time. `detached` rows only cancel a moved conversion at its former place.
SELECT
    c.conversion_id AS conversion_id,
    toUnixTimestamp64Milli(c.time) AS time_ms,
    any(c.event) AS event,
    any(c.order_id) AS order_id,
    any(c.click_id) AS click_id,
    any(c.currency) AS currency,
    anyIf(c.customer_id, c.kind = 'created') AS customer_id,
    anyIf(c.coupon_code, c.kind = 'created') AS coupon_code,
    anyIf(c.reason, c.kind = 'created') AS first_reason,
    anyIf(c.commission_reason, c.kind = 'created') AS commission_reason,
    argMaxIf(c.status, c.pos, c.kind != 'detached') AS last_status,
    argMaxIf(c.attribution, c.pos, c.kind != 'detached') AS last_attribution,
    argMaxIf(c.campaign, c.pos, c.kind != 'detached') AS last_campaign,
    argMaxIf(c.affiliate, c.pos, c.kind != 'detached') AS last_affiliate,
    argMaxIf(c.link, c.pos, c.kind != 'detached') AS last_link,
    argMaxIf(c.payout, c.pos, c.kind != 'detached') AS last_payout,
    argMaxIf(c.rule, c.pos, c.kind != 'detached') AS last_rule,
    argMaxIf(c.unverified_now, c.pos, c.kind != 'detached') AS last_unverified,
    anyIf(c.customer, c.kind = 'created') AS customer,
    anyIf(c.notes, c.kind = 'created') AS notes,
    anyIf(c.items, c.kind = 'created') AS items,
    anyIf(c.metadata, c.kind = 'created') AS metadata,
    argMaxIf(c.rate, c.pos, c.kind != 'detached') AS last_rate,
    anyIf([c.adv1, c.adv2, c.adv3, c.adv4, c.adv5], c.kind = 'created') AS advs,
    sum(c.gross_change_minor) AS order_value_minor,
    sum(c.order_value_minor) AS net_value_minor,
    sum(c.commission_minor) AS commission_minor,
    sum(c.clawback_minor) AS clawback_minor,
    countIf(c.kind NOT IN ('created', 'detached')) AS adjustments
FROM conversions AS c
WHERE c.account = {account:UInt32}
    AND c.time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND c.time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND ({order_id:String} = '' OR c.order_id = {order_id:String})
    AND ({click_id:String} = '' OR c.click_id = {click_id:String})
    AND $conditions
GROUP BY c.conversion_id, c.time
HAVING ({attribution:String} = '' OR last_attribution = {attribution:String})
    AND ({payout:String} = '' OR last_payout = {payout:String})
    AND ({verified:String} = '' OR last_unverified = ({verified:String} = 'false'))
    AND ({q:String} = '' OR positionCaseInsensitiveUTF8(
        concat(conversion_id, '\n', order_id, '\n', click_id, '\n', customer_id, '\n', coupon_code),
        {q:String}
    ) > 0)
    AND $having
