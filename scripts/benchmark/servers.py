"""TokenManager's servers, their databases, and readers of events."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmark import load

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "target/dist/token-manager"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def folder():
    """A new folder on the same disk as the PostgreSQL cluster's, which is in /tmp."""
    kind = load.output(["stat", "-f", "-c", "%T", "/tmp"]).strip()
    if kind in ("tmpfs", "ramfs"):
        sys.exit("/tmp is in memory, so no commit would wait for a disk. Mount a disk there.")
    return tempfile.mkdtemp(prefix="tm-bench-", dir="/tmp")


def end(process, seconds=20):
    """Asks a process to end, and kills it after a while."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(ready, process, name, pause=0.002, seconds=600):
    """Returns once `ready` is true; ends the process if it never is."""
    started = time.monotonic()
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() - started > seconds:
                sys.exit(f"{name} did not start")
            time.sleep(pause)
    except BaseException:
        end(process)
        raise
    return time.monotonic() - started


def request(url, body=None):
    """The JSON of a response; with a body, to a POST of it as JSON."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=60
    ) as answer:
        return json.load(answer)


class Server:
    """A server on a free port."""

    def __init__(self, database, *flags, program=BINARY):
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [program, "serve", "--database", database, "--listen", self.url.removeprefix("http://")]
        command += ["--access-log=false", "--benchmark-routes=true", "--log=warn", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.first_answer = wait_for(self.answers, self.process, "the server")

    def answers(self):
        try:
            self.get("/api/tokens?limit=1")
            return True
        except OSError:
            return False

    def get(self, path):
        return request(self.url + path)

    def post(self, path, body):
        return request(self.url + path, body)

    def allocate(self):
        return self.post("/api/tokens/allocate", {"user_id": "Edivan"})

    def fill(self):
        """Takes every token, so that further allocations evict."""
        for _ in range(4):
            self.rate(load.ALLOCATE, "/api/tokens/allocate", connections=64, seconds=1)

    def wrk(self, script, path, connections, seconds, threads=1):
        return load.wrk(script, self.url + path, connections, seconds, threads)

    def rate(self, script, path, connections, seconds):
        return self.wrk(script, path, connections, seconds).rate

    def memory(self):
        """Resident, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)


class Readers:
    """Clients that follow the server's events, in their own process."""

    def __init__(self, server, count):
        host, port = server.url.removeprefix("http://").split(":")
        command = [ROOT / "scripts/bench-readers", host, port, str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            end(self.process)
            sys.exit("the readers did not get their streams")

    def counted(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)


class Databases:
    """Fresh databases of one kind; PostgreSQL in a private cluster with durable commits."""

    def __init__(self, kind):
        self.kind = kind
        self.folder = folder()
        self.count = 0
        self.cluster = None
        if kind == "postgres":
            command = ["cargo", "run", "-q", "-p", "token-manager-testbed", "--example", "cluster"]
            self.cluster = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            if not self.cluster.stdout.readline():
                os.rmdir(self.folder)
                sys.exit("PostgreSQL did not start")

    def fresh(self):
        self.count += 1
        if self.kind == "sqlite":
            return f"sqlite:{self.folder}/pool{self.count}.db"
        self.cluster.stdin.write("database\n")
        self.cluster.stdin.flush()
        return self.cluster.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.cluster:
            self.cluster.stdin.close()
            self.cluster.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


def psql(url, sql, *options):
    """Rows of a query as lists of texts."""
    said = load.output(["psql", "-q", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, url], input=sql)
    return [line.split("|") for line in said.splitlines()]
