"""Load generators: wrk, pgbench, redis-benchmark."""

import csv
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

# Upper bounds of a histogram in milliseconds; each is twice the one before.
BOUNDS = tuple(0.25 * 2**power for power in range(10))
PERCENTILES = ("50", "75", "90", "95", "99", "99.9", "99.99")
POST = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
ALLOCATE = POST + 'wrk.body = \'{"user_id": "Edivan"}\'\n'
# One connection per thread, so that a response belongs to the request before it.
PAIRS = POST + """
local token = nil
local allocate
function init()
  allocate = wrk.format("POST", "/api/tokens/allocate", nil, '{"user_id": "Edivan"}')
end
function request()
  if token == nil then return allocate end
  local release = wrk.format("POST", "/api/tokens/release/" .. token)
  token = nil
  return release
end
function response(status, headers, body)
  token = string.match(body, '"status":"active"') and string.match(body, '"token_id":"([^"]+)"')
end
"""
# The times are milliseconds.
DONE = """
function done(summary, latency, requests)
  local times = {}
  for _, percent in ipairs({ PERCENTILES }) do
    times[#times + 1] = string.format('"%s": %.3f', percent, latency:percentile(tonumber(percent)) / 1000)
  end
  local bounds, counts, at = { BOUNDS }, {}, 1
  for bound = 1, #bounds + 1 do counts[bound] = 0 end
  for index = 1, #latency do
    local micros, count = latency(index)
    while bounds[at] and micros > bounds[at] * 1000 do at = at + 1 end
    counts[at] = counts[at] + count
  end
  local errors = summary.errors
  io.write(string.format('result {"operations": %d, "seconds": %.6f, "errors": %d, "times": {%s}, "counts": [%s]}\\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, table.concat(times, ", "), table.concat(counts, ", ")))
end
"""
DONE = DONE.replace("PERCENTILES", ", ".join(f'"{percent}"' for percent in PERCENTILES))
DONE = DONE.replace("BOUNDS", ", ".join(str(bound) for bound in BOUNDS))


@dataclass
class Load:
    """Result of a run: answered operations, per second, milliseconds by percentile, and how many took up to
    each of the bounds, and longer."""

    operations: int
    rate: float
    times: dict = field(default_factory=dict)
    counts: list = field(default_factory=list)

    def histogram(self):
        """Lines of text, from the first bound that any operation took to the last."""
        names = [*(f"up to {bound:g} ms" for bound in BOUNDS), "longer"]
        used = [at for at, count in enumerate(self.counts) if count]
        for at in range(used[0], used[-1] + 1):
            share = self.counts[at] / sum(self.counts)
            yield f"{names[at]:>13} {share:8.3%} {'#' * round(share * 60)}"


def output(command, **options):
    """Standard output of a program that succeeds."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def wrk(script, url, connections, seconds, threads=1, arguments=()):
    """Runs a script of wrk, which may have its own `done`. Fails on responses other than 2xx."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script if "function done(" in script else script + DONE)
        file.flush()
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", file.name, url]
        said = output([*command, *(["--", *arguments] if arguments else [])])
    found = re.search(r"^result (.*)$", said, re.MULTILINE)
    result = json.loads(found[1]) if found else {"errors": 1}
    if result["errors"]:
        sys.exit(f"{url} failed:\n{said}")
    operations, times = result["operations"], result.get("times", {})
    return Load(operations, operations / result["seconds"], times, result.get("counts", []))


def pgbench(script, url, connections, seconds):
    """Runs a script of pgbench, each statement prepared once per connection."""
    # Two threads, because pgbench can itself become the bottleneck with many sessions:
    # https://www.postgresql.org/docs/15/pgbench.html
    command = ["pgbench", "-n", "-M", "prepared", "-j2", f"-c{connections}", "-f", script, url]
    connecting = r"initial connection time = ([\d.]+) ms"
    # The duration includes the time of connecting, which the rate leaves out: one transaction each shows how long
    # that takes.
    first = output([*command, "-t1"])
    said = output([*command, f"-T{seconds + round(float(re.search(connecting, first)[1]) / 1000)}"])
    count = lambda text: int(re.search(r"transactions actually processed: (\d+)", text)[1])
    rate = re.search(r"tps = ([\d.]+)", said)
    if not rate or any("failed transactions: 0 " not in text for text in (first, said)):
        sys.exit(f"pgbench failed:\n{said}")
    return Load(count(first) + count(said), float(rate[1]))


def redis_benchmark(socket, connections, operations, *command):
    """Runs a command this often; `__rand_int__` in it becomes a random number each time."""
    options = ["-s", socket, "-c", str(connections), "-n", str(operations), "-r", "1000000000", "--csv"]
    said = output(["redis-benchmark", *options, *command])
    try:
        rate = float(list(csv.reader(said.splitlines()))[-1][1])
    except (IndexError, ValueError):
        sys.exit(f"redis-benchmark failed:\n{said}")
    return Load(operations, rate)
