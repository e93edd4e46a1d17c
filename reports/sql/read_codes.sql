-- The links that have one of these tracking codes, as the registry last had them.
SELECT code, number FROM (
    SELECT number, argMax(registry.code, version) AS code
    FROM registry
    WHERE kind = 'link' AND account = {account:UInt32}
    GROUP BY number
)
WHERE code IN {codes:Array(String)}
