"""podman, compose and HTTP for the scenarios, each with a timeout."""

import http.client
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "target/containers"
SECONDS = 60


def run(*command, env=None, check=True, timeout=600):
    """Output of a command; shown only if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    if check and done.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout if check else done


def podman(*arguments, **options):
    return run("podman", *arguments, **options)


def inspect(name):
    return json.loads(podman("inspect", name))[0]


def process(name):
    """Process id, on this machine, of a container's first process."""
    return inspect(name)["State"]["Pid"]


def status_of(pid):
    """A process's status from the kernel."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def wait_until(what, condition, seconds=SECONDS):
    """Value of the condition once it is true. Unreachable counts as false."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(0.2)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A server or proxy on a published port, and the key to use it with."""

    def __init__(self, port, key):
        self.port, self.headers = port, {"Authorization": f"Bearer {key}"}

    def ask(self, method, path, body=None, **headers):
        """Status and JSON of an answer, on a new connection. A header without a value is not sent."""
        headers = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        headers = {name: value for name, value in headers.items() if value}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        finally:
            connection.close()

    def get(self, path):
        status, found = self.ask("GET", path)
        assert status == 200, (path, status, found)
        return found

    def is_ready(self):
        return self.ask("GET", "/health/ready")[0] == 200

    def allocate(self, user):
        status, lease = self.ask("POST", "/api/tokens/allocate", {"user_id": user})
        assert status == 200, (status, lease)
        return lease

    def lease(self, lease):
        return self.get(f"/api/leases/{lease['lease_id']}")

    def waits(self, user, **headers):
        """A connection with one finished request and one that waits for a token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", "/health/live")
        connection.getresponse().read()
        headers = {"Content-Type": "application/json", **self.headers, **headers}
        body = json.dumps({"user_id": user, "wait_seconds": 60})
        connection.request("POST", "/api/tokens/allocate", body, headers)
        return connection

    @contextmanager
    def events(self, after=None):
        """Events of the stream as (id, name, data)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            headers = {"Last-Event-ID": after} if after else {}
            connection.request("GET", "/api/events", headers={**self.headers, **headers})
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            yield events_of(answer)
        finally:
            connection.close()


def events_of(lines):
    event = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "id" in event:
            yield event["id"], event.get("event"), json.loads(event.get("data", "null"))
            event = {}


class Compose:
    """A compose file of the project, unchanged, with its own environment and further files."""

    def __init__(self, files, project, key, **env):
        self.port = free_port()
        self.files, self.project = [f"--file={file}" for file in files.split()], project
        self.env = {"TOKEN_MANAGER_PORT": str(self.port), "TOKEN_MANAGER_BOOTSTRAP_KEY_FILE": str(key)}
        self.env |= {"BUILDAH_FORMAT": "docker", **env}
        self.server = Server(self.port, key.read_text().strip())

    def run(self, *arguments):
        return podman_compose(*self.files, *arguments, env=self.env)

    def name(self, service):
        return f"{self.project}_{service}_1"

    def __enter__(self):
        # `up` builds only missing images.
        self.run("up", "--detach")
        return self

    def __exit__(self, kind, *_):
        if kind:
            for container in podman("ps", "--all", "--quiet").split():
                log = podman("logs", "--tail", "30", container, check=False).stdout
                print(f"-- log of {inspect(container)['Name']}:\n{log}", file=sys.stderr)
        self.run("down", "--volumes", "--timeout=20")


def podman_compose(*arguments, env=None):
    program = CACHE / "python/bin/podman-compose"
    # Compiling leaves room for others; processes in containers keep their priority.
    nice = ["nice"] if "build" in arguments else []
    build = f"--podman-build-args={build_arguments()}"
    return run(*nice, program, *arguments[:1], build, *arguments[1:], env=env, timeout=1500)


def build(image):
    if podman("image", "exists", image, check=False).returncode != 0:
        podman_compose("--file=compose.yaml", "build", env={"BUILDAH_FORMAT": "docker"})


def build_arguments():
    """Arguments of a quick build with this machine's compiler and crates, without a network."""
    toolchain = run("rustc", "--print", "sysroot").strip()
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    target = CACHE / "build"
    target.mkdir(exist_ok=True)
    return shlex.join([
        "--network=none",
        # tests/containers/test ends an interrupted build by this name.
        f"--cgroup-parent=/{Path(os.environ['CONTAINERS_CONF']).parent.name}",
        f"--volume={toolchain}:/opt/rust:ro",
        f"--volume={cargo}/registry:/usr/local/cargo/registry:ro",
        f"--volume={target}:/build/target",
        "--build-arg=PROFILE=release",
    ])
