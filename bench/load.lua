-- wrk's side. BENCH_PATHS: one (the URL as given), many (a random one of BENCH_OBJECTS), new (never
-- the same twice; BENCH_SALT sets runs apart), all (each of BENCH_OBJECTS once, then a line that says so).
-- BENCH_PREFIX: what the objects' paths begin with.
-- BENCH_IF_NONE_MATCH: the entity tag to ask with. The result is the last line, as JSON.

local paths = os.getenv("BENCH_PATHS")
local objects = tonumber(os.getenv("BENCH_OBJECTS"))
local prefix = os.getenv("BENCH_PREFIX")
local salt = os.getenv("BENCH_SALT")
local tag = os.getenv("BENCH_IF_NONE_MATCH")
local sent, answered = 0, 0

if tag then
   wrk.headers["If-None-Match"] = tag
end

-- Without a request function wrk formats the request once and sends that.
if paths == "many" then
   request = function()
      return wrk.format("GET", prefix .. math.random(0, objects - 1))
   end
elseif paths == "new" then
   request = function()
      sent = sent + 1
      return wrk.format("GET", "/new/" .. salt .. "/" .. sent)
   end
elseif paths == "all" then
   request = function()
      local path = prefix .. sent % objects
      sent = sent + 1
      return wrk.format("GET", path)
   end
   -- The requests in flight at the end are lost: let them be ones of a second pass.
   response = function()
      answered = answered + 1
      if answered == objects + 1000 then
         io.write("filled\n")
         io.flush()
      end
   end
end

done = function(summary, latency)
   local e = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "microseconds": %d, "p99_us": %d, '
      .. '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
      summary.requests, summary.duration, latency:percentile(99),
      e.connect, e.read, e.write, e.timeout, e.status))
end
