"""Figures of growth: more tokens, a longer history, more servers on one database."""

import sqlite3
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from benchmark.load import ALLOCATE
from benchmark.servers import Server, psql

SIZES = (100, 10_000, 1_000_000)
HISTORIES = (0, 1_000_000, 10_000_000)
SERVERS = (1, 2, 3)
# Connections of all servers together.
CONNECTIONS = 240
ROUNDS = 5
# Rows in one transaction, so that no log outgrows the table.
PART = 500_000
# Microseconds. No lease ends by itself before the last measurement.
DAY = 86_400_000_000


def size(databases, seconds, figures):
    """Full pools of different sizes: an allocation, the start, memory."""
    growing(databases, seconds, figures, "tokens", [(tokens, tokens, 0) for tokens in SIZES])


def history(databases, seconds, figures):
    """Full pools of 100 tokens with histories of different lengths: an allocation, the start, memory."""
    growing(databases, seconds, figures, "history", [(leases, 100, leases) for leases in HISTORIES])


def growing(databases, seconds, figures, what, pools):
    """Measures pools in turn, round by round, and compares each with the first."""
    with ExitStack() as stack:
        running, starts = {}, {}
        for number, tokens, leases in pools:
            url = databases.fresh()
            write_leases(databases, url, tokens, leases)
            starts[number] = statistics.median(started(url) for _ in range(3)) * 1000
            running[number] = stack.enter_context(Server(url))
        time.sleep(1)
        memory = {number: server.memory() for number, server in running.items()}
        loads = {number: [] for number in running}
        for _ in range(ROUNDS):
            for number, server in running.items():
                loads[number].append(server.wrk(ALLOCATE, "/api/tokens/allocate", 64, seconds))
        memory_after = {number: server.memory() for number, server in running.items()}
    first = pools[0][0]
    for number in running:
        micros = [1e6 / load.rate for load in loads[number]]
        ratios = [a.rate / b.rate for a, b in zip(loads[first], loads[number])]
        kept = {
            "micros": round(statistics.median(micros), 1),
            "p99_ms": statistics.median(load.times["99"] for load in loads[number]),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "start_ms": round(starts[number], 1),
            "memory_mb": round(memory[number], 1),
            "memory_after_load_mb": round(memory_after[number], 1),
        }
        figures.results.keep(kept, "growth", databases.kind, what, str(number))
        print(f"{number:,} {what} | {databases.kind} | {kept}", flush=True)


def started(url):
    with Server(url) as server:
        return server.first_answer


def servers(databases, seconds, figures):
    """One, two and three servers on one PostgreSQL, with the same number of connections in all."""
    if databases.kind != "postgres":
        return
    url = databases.fresh()
    with ExitStack() as stack:
        running = [stack.enter_context(Server(url, "--lease=1h")) for _ in range(max(SERVERS))]
        running[0].fill()
        loads = {count: [] for count in SERVERS}
        run = lambda server, connections: server.wrk(ALLOCATE, "/api/tokens/allocate", connections, seconds)
        with ThreadPoolExecutor(max(SERVERS)) as pool:
            for _ in range(ROUNDS):
                for count in SERVERS:
                    started = [pool.submit(run, server, CONNECTIONS // count) for server in running[:count]]
                    loads[count].append([each.result() for each in started])
    sums = {count: [sum(load.rate for load in loads_now) for loads_now in loads[count]] for count in SERVERS}
    for count in SERVERS:
        kept = {
            "rate": round(statistics.median(sums[count])),
            # Of the slowest server.
            "p99_ms": statistics.median(max(load.times["99"] for load in loads_now) for loads_now in loads[count]),
            "ratios": [round(a / b, 3) for a, b in zip(sums[count], sums[1])],
        }
        figures.results.keep(kept, "growth", databases.kind, "servers", str(count))
        print(f"{count} servers | {databases.kind} | {kept}", flush=True)


def write_leases(databases, url, tokens, leases):
    """Makes a pool with a lease on every token and ended ones before them, as evictions would leave it.

    The rows are written directly, since ten million allocations would take longer. The server makes the pool
    and one lease, whose journal entry then gets the last fence.
    """
    with Server(url, f"--pool-size={tokens}", "--lease=1d") as server:
        token = server.allocate()["token_id"]
        server.post(f"/api/tokens/release/{token}", {})
    count = tokens + leases
    write = write_sqlite if databases.kind == "sqlite" else write_postgres
    began = time.monotonic()
    write(url, tokens, count)
    # Each lease begins a microsecond after the one before, and none in the future.
    time.sleep(max(0, 1 + count / 1e6 - (time.monotonic() - began)))


def write_sqlite(url, tokens, count):
    connection = sqlite3.connect(url.removeprefix("sqlite:"), isolation_level=None)
    one = lambda sql: connection.execute(sql).fetchone()
    connection.execute("pragma synchronous = off")
    base, at = one("select fence, at from batches order by version desc limit 1")
    user, name = one("select user_id, user_name from leases")
    ids = [id for (id,) in connection.execute("select id from tokens order by position")]
    before = dict(connection.execute("select token_id, max(fence) from leases group by token_id"))

    def rows(first, last):
        for number in range(first, last):
            token, started, fence = ids[number % tokens], at + 1 + number, base + 1 + number
            previous = fence - tokens if number >= tokens else before.get(token, 0)
            ended = started + tokens if number + tokens < count else None
            reason = None if ended is None else "evicted"
            row = (fence.to_bytes(16, "big"), 1, token, user, name, fence, previous, started)
            yield (*row, started + DAY, ended, reason)

    insert = (
        "insert into leases (id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,"
        " ended_at, end_reason) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    for first in range(0, count, PART):
        connection.execute("begin")
        connection.executemany(insert, rows(first, min(first + PART, count)))
        connection.execute("commit")
    connection.execute("begin")
    connection.execute("insert or ignore into user_leases select user_id, fence from leases order by fence")
    connection.execute("insert or ignore into pool_leases select distinct fence >> 14, pool, 0 from leases")
    connection.execute(
        "insert or replace into latest_leases select t.pool, t.position, max(l.fence) from leases as l"
        " join tokens as t on t.id = l.token_id group by t.id"
    )
    connection.execute("update ledger set indexed_fence = ?", [base + count])
    newest = "(select max(version) from batches)"
    connection.execute(f"update batches set fence = ? where version = {newest}", [base + count])
    connection.execute("commit")
    connection.execute("analyze")
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()


POSTGRES = """
set synchronous_commit = off;
insert into token_manager.leases (
    id, pool, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at, ended_at, end_reason
)
select
    lpad(to_hex(:base + 1 + number), 32, '0')::uuid, token.pool, token.id, sample.user_id, sample.user_name,
    :base + 1 + number,
    case when number >= :tokens then :base + 1 + number - :tokens else coalesce(
        (select max(fence) from token_manager.leases as earlier where earlier.token_id = token.id), 0
    ) end,
    at.started, at.started + interval '1 day',
    case when number + :tokens < :count then at.started + :tokens * interval '1 microsecond' end,
    case when number + :tokens < :count then 'evicted' end
from generate_series(:first::bigint, :last::bigint - 1) as number
join token_manager.tokens as token on token.position = number % :tokens
cross join (select user_id, user_name from token_manager.leases order by fence limit 1) as sample
cross join lateral (select :'at'::timestamptz + (1 + number) * interval '1 microsecond') as at (started);
"""


def write_postgres(url, tokens, count):
    newest = "select fence, at from token_manager.batches order by version desc limit 1"
    [(base, at)] = psql(url, newest)
    for first in range(0, count, PART):
        part = {"first": first, "last": min(first + PART, count)}
        values = {"base": base, "at": at, "tokens": tokens, "count": count, **part}
        psql(url, POSTGRES, *(word for name, value in values.items() for word in ("-v", f"{name}={value}")))
    psql(
        url,
        f"update token_manager.batches set fence = {int(base) + count} "
        "where version = (select max(version) from token_manager.batches);\n"
        "vacuum analyze token_manager.leases;\ncheckpoint;\n",
    )


def write_keys(databases, url, count):
    """Remembers a key, used now, for each of the oldest leases of a pool that no server uses."""
    columns = "number, user_id, key, lease_id, asked_token, used_at"
    keys = (
        "select {number}, user_id, 'key-' || fence, id, false, {now} from {schema}leases order by fence limit {count}"
    )
    if databases.kind == "postgres":
        keys = keys.format(number="row_number() over (order by fence)", now="now()", schema="token_manager.", count=count)
        psql(url, f"insert into token_manager.idempotency_keys ({columns}) {keys};\nvacuum analyze;\ncheckpoint;\n")
        return
    keys = keys.format(number="row_number() over (order by fence)", now=time.time_ns() // 1000, schema="", count=count)
    with closing(sqlite3.connect(url.removeprefix("sqlite:"), isolation_level=None)) as connection:
        connection.execute(f"insert into idempotency_keys ({columns}) {keys}")
        connection.execute("pragma wal_checkpoint(truncate)")
