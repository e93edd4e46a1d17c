-- wrk script: clicks in turn on the links whose codes a file lists, one a line.
local requests, last = {}, 0

function init(args)
  for code in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/" .. code)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
