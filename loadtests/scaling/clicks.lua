-- wrk script: clicks in turn on the links whose codes a file lists, one a line; for very many.
local requests, last = {}, 0

-- LuaJIT hashes four bytes each at the start, a quarter, the middle and the end of a string.
-- Requests that differ only elsewhere all collide, and building 30,000 of them took a minute. So
-- an unused header holds the code's last four digits exactly in the middle of the request; its
-- line and the length of its name are found by trial.
local function digits_header(head, tail)
  for pad = 1, 200 do
    local header = "X-" .. string.rep("m", pad) .. ": "
    local place = #head + #header
    local length = place + 4 + 2 + #tail
    if place == math.floor(length / 2) - 2 then
      return header
    end
  end
end

local function frame(whole, first)
  local best
  for line_end in string.gmatch(whole, "\r\n()") do
    local header = digits_header(string.sub(whole, 1, line_end - 1), string.sub(whole, line_end))
    if header and (not best or #header < #best.header) then
      best = { header = header, line_end = line_end }
    end
  end
  local between = string.sub(whole, first + 8, best.line_end - 1) .. best.header
  return string.sub(whole, 1, first - 1), between, "\r\n" .. string.sub(whole, best.line_end)
end

-- wrk.format orders headers randomly, which made the position of the code random.
local function request_text()
  local names = {}
  for name in pairs(wrk.headers) do
    if name ~= "Host" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  names[#names + 1] = "Host"
  local lines = { "GET /@_code_@ HTTP/1.1" }
  for _, name in ipairs(names) do
    lines[#lines + 1] = name .. ": " .. wrk.headers[name]
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

function init(args)
  local whole = request_text()
  local before, between, after = frame(whole, string.find(whole, "@_code_@", 1, true))
  for code in io.lines(args[1]) do
    requests[#requests + 1] = before .. code .. between .. string.sub(code, -4) .. after
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
