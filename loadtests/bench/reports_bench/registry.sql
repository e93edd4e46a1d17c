-- Fills the registry's mirror with a name for every campaign, affiliate and link.
INSERT INTO registry (kind, number, account, code, name, version)
SELECT 'campaign', number, {account:UInt32}, '', concat('Campaign ', toString(number)), 1
FROM numbers(1, {campaigns:UInt32})
UNION ALL
SELECT 'affiliate', number, {account:UInt32}, '', concat('Affiliate ', toString(number)), 1
FROM numbers(1, {affiliates:UInt32})
UNION ALL
SELECT 'link', number, {account:UInt32}, concat('tc_', toString(number)), '', 1
FROM numbers(1, {links:UInt32})
