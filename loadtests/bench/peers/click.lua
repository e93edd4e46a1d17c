-- nginx+Lua: one click, one XADD, then the redirect. `bench` is set by init_by_lua_block.
local link = bench.links[string.sub(ngx.var.uri, 2)]
if not link then
  return ngx.exit(404)
end

local letters = {}
for place = 1, 13 do
  letters[place] = bench.pairs[math.random(1024)]
end
local click_id = table.concat(letters)
local click = bench.encode({
  click_id = click_id,
  account = bench.account,
  link = link,
  campaign = bench.campaign,
  affiliate = bench.affiliate,
  ip = ngx.var.remote_addr,
  user_agent = ngx.var.http_user_agent,
  referrer = ngx.var.http_referer,
  language = string.match(ngx.var.http_accept_language or "", "^[^,;]*"),
})

local connection = bench.redis:new()
connection:set_timeouts(1000, 5000, 5000)
local ok = connection:connect("127.0.0.1", bench.port)
if ok and connection:get_reused_times() == 0 then
  ok = connection:auth(bench.password)
end
if not ok or not connection:xadd(bench.stream, "*", "f", click) then
  return ngx.exit(503)
end
connection:set_keepalive(60000, 256)
return ngx.redirect(bench.destination .. "?click_id=" .. click_id)
