-- wrk script: sales through one tracking code, each with its own order id.
-- Arguments: tracking code, prefix of the order ids, API key.
local before, after
local order = 0

function init(args)
  local body = string.format(
    '{"tracking_code":"%s","order_value":99.99,"order_id":"%s_0000000000",'
      .. '"customer_email":"customer@example.com"}',
    args[1], args[2])
  wrk.headers["Authorization"] = "Bearer " .. args[3]
  wrk.headers["Content-Type"] = "application/json"
  local whole = wrk.format("POST", "/v1/conversions", wrk.headers, body)
  -- All ids have the same length, so that the head with its Content-Length is built once.
  local first, last = string.find(whole, "_0000000000", 1, true)
  before, after = string.sub(whole, 1, first), string.sub(whole, last + 1)
end

function request()
  order = order + 1
  return before .. string.format("%010d", order) .. after
end
