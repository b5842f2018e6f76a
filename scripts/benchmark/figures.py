"""Figures of one database, each as a ratio within one run, and those of growth."""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from functools import partial

from benchmark import growth
from benchmark.access import access, fairness
from benchmark.load import ALLOCATE, PAIRS
from benchmark.servers import Readers, Server


# Remembered idempotency keys beside which pairs are measured.
KEYS = 1_000_000


class Figures:
    """Where figures go: to the standard output as rows of a table, and into the results."""

    def __init__(self, results):
        self.results = results

    def row(self, kind, name, measured, compared="", ratio=""):
        print(f"{name} | {kind} | {measured} | {compared} | {ratio} |", flush=True)
        self.results.keep([measured, compared, ratio], "figures", kind, name)

    def ratio(self, kind, name, one, other, rounds=5, unit="/s"):
        """Measures two things in turn, pair by pair; the row has their medians and that of the ratios."""
        pairs = [(one(), other()) for _ in range(rounds)]
        ratios = [a / b for a, b in pairs]
        ones, others = zip(*pairs)
        spread = f"{statistics.median(ratios):.0%} ({min(ratios):.2f} to {max(ratios):.2f})"
        self.row(kind, name, f"{statistics.median(ones):,.0f}{unit}", f"{statistics.median(others):,.0f}{unit}", spread)


def allocate(databases, seconds, figures):
    """Allocating on a full pool, against a constant answer to the same request."""
    for connections in (64, 256):
        with Server(databases.fresh()) as server:
            server.fill()
            one, other = (
                partial(server.rate, ALLOCATE, path, connections, seconds)
                for path in ("/api/tokens/allocate", "/bench/allocate")
            )
            name = f"allocate, {connections} connections, against a constant"
            figures.ratio(databases.kind, name, one, other, rounds=7)


def alone(databases, seconds, figures):
    """One client, on a full pool: the median time of an allocation, against a write to the same disk."""
    with Server(databases.fresh()) as server:
        server.fill()
        allocation = lambda: server.wrk(ALLOCATE, "/api/tokens/allocate", connections=1, seconds=seconds).times["50"]
        pairs = [(allocation() * 1000, synced(databases.folder)) for _ in range(5)]
    ours, disk = (statistics.median(each) for each in zip(*pairs))
    more = [one - other for one, other in pairs]
    spread = f"{statistics.median(more):.0f} us more ({min(more):.0f} to {max(more):.0f})"
    name = "allocate, 1 connection, against appending 4 kB and fdatasync"
    figures.row(databases.kind, name, f"{ours:.0f} us", f"{disk:.0f} us", spread)


def synced(folder):
    """Median microseconds of appending 4 kB to a file in the folder until that is on disk."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(1000):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def reads(databases, seconds, figures):
    """The list of 100 tokens, against a constant of the same length."""
    with Server(databases.fresh()) as server:
        server.fill()
        mine = lambda: server.rate("", "/api/tokens", 64, seconds)
        constant = lambda: server.rate("", "/bench/tokens", 64, seconds)
        figures.ratio(databases.kind, "list of 100 tokens, against a constant", mine, constant)


def pairs(databases, seconds, figures):
    """Allocate and release in pairs with 8 clients: no failures, and the slowest times. Also beside all of
    housekeeping: leases and journal entries deleted after seconds, and a million remembered keys."""
    name = "allocate and release in pairs, 8 connections"
    with Server(databases.fresh()) as server:
        paired(databases.kind, server, seconds, figures, name, databases.kind)
    url = databases.fresh()
    growth.write_leases(databases, url, 100, KEYS)
    growth.write_keys(databases, url, KEYS)
    flags = ["--retention=5s", "--journal-max-age=5s", f"--max-idempotency-keys={3 * KEYS}"]
    with Server(url, *flags) as server:
        name += f", beside housekeeping with {KEYS:,} keys"
        paired(databases.kind, server, seconds, figures, name, f"{databases.kind}, housekeeping")


def paired(kind, server, seconds, figures, name, curve):
    measured = server.wrk(PAIRS, "/", connections=8, seconds=seconds * 4, threads=8)
    median, p99 = measured.times["50"], measured.times["99"]
    times = f"p50 {median:.2f} ms, p99 {p99:.2f} ms"
    figures.row(kind, name, f"{measured.rate:,.0f}/s, no failure", times, f"p99 is {p99 / median:.1f} times p50")
    print("\n".join(measured.histogram()), flush=True)
    figures.results.keep(measured.times, "percentiles", curve)


def endless(databases, seconds, figures):
    """Allocating without pause for 5 minutes with leases of 10 s, the last minute against the first.

    The pool is so large that leases expire before they would be evicted.
    """
    with Server(databases.fresh(), "--lease=10s", "--pool-size=400000") as server:
        slices = [server.rate(ALLOCATE, "/api/tokens/allocate", 64, 15) for _ in range(20)]
    first, last = statistics.mean(slices[:4]), statistics.mean(slices[-4:])
    name = "the fifth minute of allocating and expiring, against the first"
    figures.ratio(databases.kind, name, lambda: last, lambda: first, rounds=1)


def snapshot(databases, seconds, figures):
    """PostgreSQL, while another session holds a snapshot open for a minute."""
    if databases.kind != "postgres":
        return
    url = databases.fresh()
    with Server(url) as server:
        server.fill()
        holder = subprocess.Popen(["psql", "-q", url], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        holder.stdin.write("begin isolation level repeatable read; select count(*) from token_manager.leases;\n")
        holder.stdin.flush()
        slices = [server.rate(ALLOCATE, "/api/tokens/allocate", 64, 10) for _ in range(6)]
        holder.stdin.close()
        holder.wait(60)
    name = "the sixth ten seconds beside an open snapshot, against the first"
    figures.ratio(databases.kind, name, lambda: slices[-1], lambda: slices[0], rounds=1)


def start(databases, seconds, figures):
    """From start to the first response, and memory at rest."""
    url = databases.fresh()
    times = []
    for _ in range(5):
        with Server(url) as server:
            times.append(server.first_answer)
            time.sleep(1)
            memory = server.memory()
    first, again = times[0] * 1000, statistics.median(times[1:]) * 1000
    made = f"{first:.0f} ms the first time, which makes the pool"
    figures.row(databases.kind, "from start to first answer", made, f"{again:.0f} ms afterwards")
    figures.row(databases.kind, "memory at rest, 100 tokens", f"{memory:.1f} MB")


def events(databases, seconds, figures):
    """Allocating on a full pool beside 1,000 readers, and the delay of expiries."""
    with Server(databases.fresh()) as server:
        server.fill()
        seen = []

        def beside_readers():
            with Readers(server, 1000) as readers:
                readers.counted()
                rate = server.rate(ALLOCATE, "/api/tokens/allocate", 64, seconds)
                seen.append(readers.counted())
            return rate

        alone = lambda: server.rate(ALLOCATE, "/api/tokens/allocate", 64, seconds)
        name = "allocate beside 1,000 readers of the event stream, against none"
        figures.ratio(databases.kind, name, beside_readers, alone)
        total = {name: sum(each[name] for each in seen) for name in seen[0]}
        if total["ended"]:
            sys.exit("readers were cut off")
        time_read = 1000 * seconds * len(seen)
        figures.row(
            databases.kind,
            "what each of 1,000 readers got meanwhile",
            f"{total['events'] / time_read:,.0f} events/s, {total['bytes'] / time_read / 1000:,.0f} kB/s",
            f"{total['resyncs'] / time_read:.2f} resyncs/s",
        )
    with Server(databases.fresh(), "--lease=6s") as server:
        late = sorted(delays(server, 100))
    median, p95 = late[len(late) // 2] * 1000, late[len(late) * 95 // 100] * 1000
    name = "from a deadline to the reader of its event, on an idle server"
    figures.row(databases.kind, name, f"median {median:.1f} ms", f"p95 {p95:.1f} ms")


def delays(server, count):
    """Seconds from the deadline to the event, for each of `count` expiries."""
    with urllib.request.urlopen(server.url + "/api/events", timeout=30) as stream:
        for _ in range(count):
            server.allocate()
            # All of them before the first deadline.
            time.sleep(random.uniform(0.01, 0.05))
        found = 0
        for line in stream:
            now = time.time()
            if line.startswith(b"data: ") and b'"reason":"expired"' in line:
                found += 1
                deadline = datetime.fromisoformat(json.loads(line[6:])["expires_at"])
                yield now - deadline.timestamp()
                if found == count:
                    return


def against(databases, program):
    """Allocations of this build against another one, in many short pairs of alternating order. Their median
    shows differences that a long run on a shared machine hides."""
    ratios = []
    with Server(databases.fresh()) as this, Server(databases.fresh(), program=program) as other:
        this.fill()
        other.fill()
        for turn in range(40):
            order = [this, other] if turn % 2 else [other, this]
            rates = {server: server.rate(ALLOCATE, "/api/tokens/allocate", 64, 2) for server in order}
            ratios.append(rates[this] / rates[other])
    low, median, high = statistics.quantiles(ratios, n=4)
    half = f"half of the pairs {low:.1%} to {high:.1%}"
    print(f"{databases.kind}: {median:.1%} of the other's allocations ({half})", flush=True)


FIGURES = [allocate, alone, reads, pairs, start, growth.size, growth.history, growth.servers, snapshot, endless, events, access, fairness]
