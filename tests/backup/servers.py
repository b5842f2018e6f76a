"""Programs of a test: token-manager and a private PostgreSQL. All end with the test."""

import glob
import http.client
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = str(Path(__file__).resolve().parents[2] / "target/debug/token-manager")
SUPERUSER = "postgres"
TIMEOUT = 30


def until(what, ask):
    """Asks until the answer is true, and returns it."""
    since = time.monotonic()
    while not (answer := ask()):
        if time.monotonic() - since > TIMEOUT:
            sys.exit(f"timed out waiting for {what}")
        time.sleep(0.01)
    return answer


def protected(command, user=None):
    """A command that ends when this process ends, for whatever reason."""
    how = ["setpriv", "--pdeathsig", "KILL"]
    if user:
        account = pwd.getpwnam(user)
        how += ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    return [*how, *command]


def run(command, **how):
    """Runs a command to its end and returns its exit code and output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, **how)
    return done.returncode, done.stdout + done.stderr


def must(command, **how):
    code, said = run(command, **how)
    if code:
        sys.exit(f"{' '.join(command)} failed:\n{said}")
    return said


def token_manager(command, database, *arguments):
    """A command on this database, without this environment."""
    return [PROGRAM, command, "--database", database, *arguments]


class Folder:
    """A temporary folder, and the processes that run in it."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="tm-backup-", dir="/tmp"))
        self.path.chmod(0o755)
        self.processes = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.path, ignore_errors=True)

    def start(self, command, **how):
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **how))
        return self.processes[-1]


class Server:
    """`token-manager serve`, ready."""

    def __init__(self, folder, database, *flags, port=0):
        # The tests' own requests have no key.
        listen = ["--listen", f"127.0.0.1:{port}", "--trust-loopback"]
        command = token_manager("serve", database, *listen, "--access-log=false", *flags)
        self.log = folder.path / "server.log"
        with self.log.open("a") as log:
            self.process = folder.start(protected(command), stdout=subprocess.PIPE, stderr=log, env={})
        ready = self.process.stdout.readline()
        if "is ready" not in ready:
            sys.exit(f"the server did not start:\n{self.log.read_text()}")
        self.port = int(ready.split("http://localhost:")[1].split()[0])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stops as an operator does, and expects success."""
        self.process.terminate()
        if self.process.wait(TIMEOUT):
            sys.exit(f"the server did not stop well:\n{self.log.read_text()}")

    def get(self, path, headers=None):
        """Status, headers and body."""
        return self.ask("GET", path, headers)

    def ask(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, json.loads(body) if body else None

    def make_key(self, name):
        """A new API key of an administrator, as the header to send."""
        key = {"name": name, "rights": "admin", "pools": ["*"], "users": ["*"]}
        return {"Authorization": f"Bearer {self.ask('POST', '/api/keys', body=key)[2]['secret']}"}

    def pool(self):
        return self.get("/api/pool")[2]

    def leases(self):
        """The whole history by lease id."""
        found, path = {}, "/api/leases"
        while path:
            page = self.get(path)[2]
            found.update((lease["lease_id"], lease) for lease in page["leases"])
            path = page["next"]
        return found

    def first_event(self, last_id):
        """The first event of a stream that resumes after this id."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        connection.request("GET", "/api/events", headers={"Last-Event-ID": last_id})
        answer, event = connection.getresponse(), None
        for line in answer:
            if line.startswith(b"event: "):
                event = line[7:].decode().strip()
            if line.startswith(b"data: "):
                connection.close()
                return event, json.loads(line[6:])


class Cluster:
    """A private PostgreSQL that listens on a Unix socket only."""

    def __init__(self, folder, name):
        self.folder, self.path = folder, folder.path / name
        self.user = SUPERUSER if os.getuid() == 0 else None
        self.path.mkdir()
        if self.user:
            shutil.chown(self.path, self.user, self.user)
        self.data = self.path / "data"

    def make(self):
        self.run("initdb", "-D", str(self.data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        return self

    def start(self):
        command = [program("postgres"), "-D", str(self.data), "-k", str(self.path), "-c", "listen_addresses="]
        with (self.path.parent / "postgres.log").open("a") as log:
            self.process = self.folder.start(protected(command, self.user), stdout=log, stderr=log, cwd="/tmp")
        until("PostgreSQL", lambda: run([program("pg_isready"), "-q", "-h", str(self.path)])[0] == 0)
        return self

    def crash(self):
        """Kills it; its sessions notice."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def run(self, name, *arguments):
        """A program of PostgreSQL, run as the cluster's user."""
        return must(protected([program(name), *arguments], self.user), cwd="/tmp")

    def url(self, database):
        return f"postgres://{SUPERUSER}@/{database}?host={self.path}"


def program(name):
    """Path of the newest version in Debian's folder, or the name to find in the PATH."""
    versions = glob.glob(f"/usr/lib/postgresql/*/bin/{name}")
    return max(versions, key=lambda path: int(path.split("/")[4])) if versions else name
