"""Figures of access control: the cost of an API key, of TLS, and of many keys; shares of callers."""

import hashlib
import json
import sqlite3
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmark import load
from benchmark.servers import Server

MANY = 100_000
EVERYTHING = {"rights": "admin", "pools": ["*"], "users": ["*"]}


def access(databases, seconds, figures):
    """Allocating with an API key against without, over TLS against without, and 100,000 keys."""
    with Server(databases.fresh(), "--trust-loopback=true") as server:
        server.fill()
        key = server.post("/api/keys", {"name": "bench", **EVERYTHING})["secret"]
        with_key = load.ALLOCATE + f'wrk.headers["Authorization"] = "Bearer {key}"\n'
        one, other = (
            partial(server.rate, script, "/api/tokens/allocate", 64, seconds) for script in (with_key, load.ALLOCATE)
        )
        figures.ratio(databases.kind, "allocate with an API key, against without", one, other, rounds=7)
    if databases.kind == "sqlite":
        tls(databases, seconds, figures)
        many(databases, figures)


def fairness(databases, seconds, figures):
    """Allocating with 8 connections beside a client with 1,000, against beside one with 8."""
    with Server(databases.fresh(), "--trust-loopback=true") as server:
        server.fill()
        keys = [server.post("/api/keys", {"name": name, **EVERYTHING})["secret"] for name in ("one", "other")]
        one, other = (load.ALLOCATE + f'wrk.headers["Authorization"] = "Bearer {key}"\n' for key in keys)

        def beside(connections):
            with ThreadPoolExecutor() as pool:
                # It begins before what is measured, and ends after it.
                others = pool.submit(server.rate, other, "/api/tokens/allocate", connections, seconds + 2)
                time.sleep(1)
                rate = server.rate(one, "/api/tokens/allocate", 8, seconds)
                others.result()
            return rate

        name = "allocate, 8 connections beside a client with 1,000, against beside one with 8"
        figures.ratio(databases.kind, name, partial(beside, 1000), partial(beside, 8), rounds=5)


def tls(databases, seconds, figures):
    """Connections are kept, as clients keep them: a handshake is once per connection."""
    with tempfile.TemporaryDirectory() as folder:
        cert, private = (Path(folder) / name for name in ("cert.pem", "key.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            + ["-keyout", private, "-out", cert],
            check=True,
            capture_output=True,
        )
        with Server(databases.fresh()) as plain, Secure(databases.fresh(), cert, private) as secure:
            plain.fill()
            secure.fill()
            one, other = (
                partial(server.rate, load.ALLOCATE, "/api/tokens/allocate", 64, seconds) for server in (secure, plain)
            )
            figures.ratio(databases.kind, "allocate over TLS, kept connections, against without", one, other, rounds=7)


class Secure(Server):
    """A server with HTTPS."""

    def __init__(self, database, cert, private):
        super().__init__(database, f"--tls-cert={cert}", f"--tls-key={private}")

    def answers(self):
        self.url = self.url.replace("http://", "https://")
        unchecked = subprocess.run(["curl", "-sfk", self.url + "/health/ready"], check=False, capture_output=True)
        return unchecked.returncode == 0


def many(databases, figures):
    """Start and memory with many keys, against none. The keys are inserted directly."""
    started, memory = {}, {}
    url = databases.fresh()
    for count in (0, MANY):
        times = []
        for turn in range(6):
            with Server(url, "--trust-loopback=true") as server:
                times.append(server.first_answer)
                time.sleep(1)
                memory[count] = server.memory()
        started[count] = statistics.median(times[1:])
        if count == 0:
            write_keys(url)
    name = f"start and memory at rest with {MANY:,} API keys, against none"
    more = f"{(started[MANY] - started[0]) * 1000:.0f} ms and {memory[MANY] - memory[0]:.1f} MB more"
    shown = (f"{started[count] * 1000:.0f} ms, {memory[count]:.1f} MB" for count in (MANY, 0))
    figures.row(databases.kind, name, *shown, more)


def write_keys(url):
    def key(number):
        identity = f"{number:012d}"
        secret = [{"sha256": hashlib.sha256(identity.encode()).hexdigest(), "until": None}]
        user = json.dumps([f"user-{number}"])
        return (identity, f"key-{number}", "use", '["default"]', user, json.dumps(secret), 0)

    columns = "id, name, rights, pools, users, secrets, created_at"
    with closing(sqlite3.connect(url.removeprefix("sqlite:"))) as connection, connection:
        connection.executemany(f"insert into api_keys ({columns}) values (?, ?, ?, ?, ?, ?, ?)", map(key, range(MANY)))
