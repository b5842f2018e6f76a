"""TokenManager against other designs, on the same work in the same run.

The work: a pool of 100 tokens, all in use. Each operation ends the oldest lease, gives its token to a user with a
new lease and fence, and appends the old lease to a history that can be searched by time. It is answered
once all that is on disk; operations may share an fsync. `scripts/opponents` has the opponents' programs.
"""

import base64
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

from benchmark import load
from benchmark.servers import (
    ROOT,
    Databases,
    Server,
    end,
    folder,
    free_port,
    psql,
    request,
    wait_for,
)

SCRIPTS = ROOT / "scripts/opponents"
TOKENS = 100
CONNECTIONS = (64, 256)
HOUR = 3600


class Opponent:
    """One contestant. `run` returns the load, `check` fails unless its work was done."""

    # Requests under way when a load generator stops may be executed without being counted.
    uncounted = 0
    operations = 0

    def measure(self, connections, seconds):
        measured = self.run(connections, seconds)
        self.operations += measured.operations
        return measured.rate

    def expect(self, active, history, wrong_order):
        """Compares the pool after all runs so far with the number of operations."""
        most = self.operations + self.uncounted
        if active != TOKENS or not self.operations <= history <= most or wrong_order:
            sys.exit(
                f"{self.name}: {active} active leases instead of {TOKENS}; {history} ended ones after "
                f"{self.operations} to {most} operations; {wrong_order} evictions of a lease that was not the oldest"
            )


class TokenManager(Opponent):
    def __init__(self, databases, stack):
        self.kind = databases.kind
        self.name = {"sqlite": "TokenManager on SQLite", "postgres": "TokenManager on PostgreSQL"}[self.kind]
        self.database = databases.fresh()
        self.server = stack.enter_context(Server(self.database, "--lease=1h"))
        while self.server.get("/api/tokens/available?limit=1"):
            self.server.allocate()

    def run(self, connections, seconds):
        self.uncounted += connections
        return self.server.wrk(load.ALLOCATE, "/api/tokens/allocate", connections, seconds)

    def check(self):
        # Clients that disconnected at the end of a run leave tokens free, as soon as the server notices.
        full = False
        while not full:
            time.sleep(1)
            full = True
            while self.server.get("/api/tokens/available?limit=1"):
                self.server.allocate()
                self.operations += 1
                full = False
        active = self.server.get("/api/pool")["active"]
        sql = (SCRIPTS / "check_leases.sql").read_text()
        if self.kind == "postgres":
            [row] = psql(self.database, f"set search_path = token_manager;\n{sql}")
        else:
            file = self.database.removeprefix("sqlite:")
            connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
            row = connection.execute(sql).fetchone()
            connection.close()
        self.expect(active, *map(int, row))


class HandWritten(Opponent):
    """PostgreSQL with tables and a function of one's own, called through pgbench. Same cluster, same settings as
    TokenManager's: `fsync`, `synchronous_commit` and `full_page_writes` are on. The connections use its socket.

    `commit_delay` stays 0. The documentation suggests to try half the time of a flush, which gained nothing here:
    https://www.postgresql.org/docs/15/wal-configuration.html
    """

    def __init__(self, databases, variant, name, exact):
        self.name, self.exact = name, exact
        self.url = databases.fresh()
        for script in ("tables.sql", variant):
            psql(self.url, (SCRIPTS / script).read_text())
        psql(self.url, f"select allocate('Edivan') from generate_series(1, {TOKENS});\nvacuum analyze;")
        self.early = 0

    def run(self, connections, seconds):
        return load.pgbench(SCRIPTS / "allocate.pgbench", self.url, connections, seconds)

    def check(self):
        [row] = psql(self.url, (SCRIPTS / "check.sql").read_text())
        active, history, fences, self.early = map(int, row)
        if fences != history + TOKENS:
            sys.exit(f"{self.name}: {fences} fences, but {history} ended leases")
        self.expect(active, history, self.early if self.exact else 0)


class Redis(Opponent):
    """Redis with one function and an append-only file.

    Everything that is executed in one turn of its event loop shares a write and an fsync, before the replies
    go out: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
    """

    name = "Redis"
    CHUNK = 20_000

    def __init__(self, stack):
        self.folder = folder()
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.socket = f"{self.folder}/socket"
        settings = {
            "dir": self.folder,
            # Sockets are faster than TCP on one machine:
            # https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/benchmarks/
            "port": "0",
            "unixsocket": self.socket,
            "appendonly": "yes",
            "appendfsync": "always",
            # Neither snapshots nor rewrites of the file during a run; it grows, in Redis' favour.
            "save": "",
            "auto-aof-rewrite-percentage": "0",
            # Threads for sockets only help "machines that have at least 4 or more cores" (redis.conf).
            "io-threads": "1",
        }
        command = ["redis-server", *(word for name, value in settings.items() for word in (f"--{name}", value))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(lambda: "PONG" in self.ask("PING", quiet=True), process, "redis-server")
        stack.callback(end, process)
        self.ask("-x", "FUNCTION", "LOAD", input=(SCRIPTS / "redis.lua").read_text())
        self.ask("RPUSH", "free", *map(str, range(TOKENS)))
        self.rate, self.seen = {}, ["0-0", "0"]
        load.redis_benchmark(self.socket, 10, TOKENS, *self.command())

    def ask(self, *words, quiet=False, **options):
        done = subprocess.run(
            ["redis-cli", "-s", self.socket, *words], check=False, capture_output=True, text=True, **options
        )
        if not quiet and (done.returncode or "ERR" in done.stdout):
            sys.exit(f"redis-cli {words[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def command(self):
        # Three random numbers make an id that does not repeat.
        lease = "__rand_int__-__rand_int__-__rand_int__"
        return ["FCALL", "allocate", "4", "fences", "active", "free", "history", lease, "Edivan", str(HOUR)]

    def run(self, connections, seconds):
        # redis-benchmark counts operations, not seconds: the run before tells how many fit.
        if connections not in self.rate:
            self.rate[connections] = self.load(connections, 20_000)
        operations = round(self.rate[connections] * seconds)
        self.rate[connections] = self.load(connections, operations)
        return load.Load(0, self.rate[connections])

    def load(self, connections, operations):
        self.uncounted += connections
        measured = load.redis_benchmark(self.socket, connections, operations, *self.command())
        self.operations += measured.operations
        return measured.rate

    def check(self):
        script = (SCRIPTS / "redis_check.lua").read_text()
        wrong, count = 0, self.CHUNK
        while count == self.CHUNK:
            said = self.ask("EVAL", script, "1", "history", *self.seen, str(self.CHUNK)).split()
            count, wrong, self.seen = int(said[0]), wrong + int(said[1]), said[2:]
        active, history = (int(self.ask(*words)) for words in (("ZCARD", "active"), ("XLEN", "history")))
        oldest = self.ask("ZRANGE", "active", "0", "0", "WITHSCORES").split()[1]
        self.expect(active, history, wrong + (int(oldest) < int(self.seen[1])))


class Etcd(Opponent):
    """etcd with one member, through its HTTP gateway, by wrk as the only allocator."""

    name = "etcd"
    PAGE = 5_000

    def __init__(self, stack):
        place = folder()
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        self.url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        command = ["etcd", "--data-dir", place, "--logger=zap", "--log-level=error", "--log-outputs=stderr"]
        command += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url, "--listen-peer-urls", peer]
        command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        # The history needs more than the default of 2 GiB: https://etcd.io/docs/v3.4/dev-guide/limit/
        # Nothing is compacted during a run, in etcd's favour: https://etcd.io/docs/v3.4/op-guide/maintenance/
        # The other settings stay: "the default settings in etcd should work well for installations on a local
        # network", https://etcd.io/docs/v3.4/tuning/
        command += ["--quota-backend-bytes", str(8 << 30)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.ready, process, "etcd", pause=0.05)
        stack.callback(end, process)
        now = int(time.time())
        for token in range(TOKENS):
            fence = token + 1
            lease = {"token": token, "lease": fence, "fence": fence, "user": "Edivan", "started": now}
            request(self.url + "/v3/lease/grant", {"ID": fence, "TTL": HOUR})
            put = {"key": code(f"token/{token}"), "value": code(json.dumps(lease)), "lease": fence}
            request(self.url + "/v3/kv/put", put)
        # Leases that a run granted at its end may be unused, and their ids too: the next run begins above them.
        self.lease = TOKENS

    def ready(self):
        try:
            return request(self.url + "/health").get("health") == "true"
        except OSError:
            return False

    def values(self, first, beyond):
        """Values of the keys from `first` on and below `beyond`, decoded."""
        while True:
            body = {"key": code(first), "range_end": code(beyond), "limit": self.PAGE}
            answer = request(self.url + "/v3/kv/range", body)
            for pair in answer.get("kvs", []):
                yield json.loads(base64.b64decode(pair["value"]))
            if not answer.get("more"):
                return
            first = base64.b64decode(answer["kvs"][-1]["key"]).decode() + "\0"

    def run(self, connections, seconds):
        connections = min(connections, TOKENS)
        self.uncounted += connections
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            leases = self.settled()
            members = ("token", "fence", "lease", "started")
            file.writelines(" ".join(str(lease[name]) for name in members) + "\n" for lease in leases)
            file.flush()
            self.lease = max(self.lease, *(lease["lease"] for lease in leases)) + 10_000
            script = (SCRIPTS / "etcd.lua").read_text()
            return load.wrk(script, self.url, connections, seconds, arguments=[file.name, str(self.lease)])

    def settled(self):
        """The running leases, oldest first, once etcd has executed what the run before left under way."""
        leases, before = None, None
        while leases is None or leases != before:
            time.sleep(0.5)
            leases, before = sorted(self.values("token/", "token0"), key=lambda lease: lease["fence"]), leases
        return leases

    def check(self):
        running = self.settled()
        ended = sorted((lease["by"], lease["fence"]) for lease in self.values("history/", "history0"))
        order = ended + [(None, lease["fence"]) for lease in running]
        # Evicted are the oldest leases that etcd has confirmed. A confirmation can take as long as many others.
        ranks = {fence: rank for rank, fence in enumerate(sorted(fence for _, fence in order))}
        wrong = sum(abs(rank - ranks[fence]) > 10 * TOKENS for rank, (_, fence) in enumerate(order))
        self.expect(len(running), len(ended), wrong)


def code(text):
    return base64.b64encode(text.encode()).decode()


def compare(rounds, seconds, results):
    """Runs all of them in turn, round by round, and checks their work."""
    with ExitStack() as stack:
        sqlite, postgres = (stack.enter_context(Databases(kind)) for kind in ("sqlite", "postgres"))
        contestants = [
            TokenManager(sqlite, stack),
            TokenManager(postgres, stack),
            Redis(stack),
            HandWritten(postgres, "advisory.sql", "PostgreSQL, advisory lock", exact=True),
            HandWritten(postgres, "skip_locked.sql", "PostgreSQL, skip locked", exact=False),
            Etcd(stack),
        ]
        for connections in CONNECTIONS:
            rates = {each.name: [] for each in contestants}
            for turn in range(rounds):
                # Another one begins each round.
                first = turn % len(contestants)
                for each in contestants[first:] + contestants[:first]:
                    rates[each.name].append(round(each.measure(connections, seconds), 1))
            for each in contestants:
                each.check()
                print(f"{each.name}, {connections} connections: {statistics.median(rates[each.name]):,.0f}/s", flush=True)
            results.keep(rates, "opponents", str(connections))
            early = {each.name: each.early / each.operations for each in contestants if isinstance(each, HandWritten)}
            results.keep(early, "not oldest", str(connections))
