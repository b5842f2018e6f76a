"""Promises of docs/containers.md, checked in real containers. Run by tests/containers/test."""

import os
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from tools import Compose, Server, build, free_port, inspect, podman, process, status_of, wait_until

IMAGE = "localhost/token-manager"
# The options of compose.yaml for the server, for a single container.
CAREFULLY = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
IN_CONTAINER = "/run/secrets/bootstrap-key"


def make_first_key(file):
    """As docs/containers.md makes it."""
    # Beside podman's warnings.
    printed = podman("run", "--rm", "--network=none", IMAGE, "keys", "generate").splitlines()
    [key] = [line for line in printed if line.startswith("tm_")] or [sys.exit(f"no key: {printed}")]
    file.write_text(f"{key}\n")
    file.chmod(0o444)
    return file


def needs_a_key(server, name):
    """Requests need the key, health checks do not, and the container's environment does not have it."""
    assert server.ask("GET", "/api/pool", Authorization=None)[0] == 401
    assert server.ask("GET", "/api/pool")[0] == 200
    assert server.ask("GET", "/health/ready", Authorization=None)[0] == 200
    key = server.headers["Authorization"].removeprefix("Bearer ")
    assert key not in podman("inspect", name) and key not in podman("logs", name), "the key can be seen"
    refused = podman("exec", name, "token-manager", "tokens", check=False)
    assert refused.returncode != 0, refused
    assert "ID" in podman("exec", name, "token-manager", "keys", "list", f"--key-file={IN_CONTAINER}").upper()


def is_small_and_bare():
    image = inspect(IMAGE)
    size = image["Size"] / 1e6
    assert size < 40, f"{size:.1f} MB"
    assert image["Config"]["User"] == "10001:10001", image["Config"]
    assert image["Config"]["StopSignal"] in ("SIGTERM", "15"), image["Config"]
    shell = podman("run", "--rm", "--network=none", "--entrypoint=/bin/sh", IMAGE, "-c", "true", check=False)
    assert shell.returncode == 127, shell
    assert "token-manager 0" in podman("run", "--rm", "--network=none", IMAGE, "--version")
    return f"{size:.1f} MB"


def may_do_little(name):
    """Rights as the kernel reports them."""
    pid = process(name)
    status = status_of(pid)
    assert status["Uid"] == ["10001"] * 4 and status["Gid"] == ["10001"] * 4, status
    assert {status[f"Cap{kind}"][0] for kind in ("Prm", "Eff", "Inh", "Bnd", "Amb")} == {"0" * 16}, status
    assert status["NoNewPrivs"] == ["1"], status
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    root = next(mount for mount in mounts if mount[4] == "/")
    assert "ro" in root[5].split(","), root


def listens_on_loopback_only(port):
    found = []
    for file, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                found.append(address)
                assert address == loopback, line
    assert found, f"no listener on {port}"


def is_healthy(name):
    return podman("healthcheck", "run", name, check=False).returncode == 0


def stops_at_once(name):
    started = time.monotonic()
    podman("stop", "--time", "30", name)
    took = time.monotonic() - started
    assert took < 8, f"{name} took {took:.1f} s to stop"
    code = inspect(name)["State"]["ExitCode"]
    assert code == 0, f"{name} ended with {code}"
    return f"{took:.1f} s"


def server_and_database(key):
    password = secrets.token_hex(12)
    with Compose("compose.yaml", "token-manager", key, POSTGRES_PASSWORD=password) as compose:
        server, ours, database = compose.server, compose.name("server"), compose.name("postgres")
        wait_until("ready", server.is_ready)
        print("   image:", is_small_and_bare())
        may_do_little(ours)
        listens_on_loopback_only(compose.port)
        assert is_healthy(ours) and is_healthy(database)
        needs_a_key(server, ours)
        assert server.ask("GET", "/api/pool", Host="evil.example")[0] == 421

        lease = server.allocate("ann")
        still_there = lambda: server.lease(lease)["status"] == "active"
        assert still_there()

        podman("kill", database)
        wait_until("not ready without a database", lambda: not server.is_ready())
        status, problem = server.ask("POST", "/api/tokens/allocate", {"user_id": "bob"})
        assert (status, problem["code"]) == (503, "not-done"), (status, problem)
        assert server.ask("GET", "/health/live")[0] == 200
        assert not is_healthy(ours)
        podman("start", database)
        wait_until("ready again with its database", server.is_ready)
        assert still_there() and is_healthy(ours)
        assert [found["user"] for found in server.get("/api/leases")["leases"]] == ["ann"]

        # As an out-of-memory killer does. The restart policy restarts it.
        first = process(ours)
        os.kill(first, signal.SIGKILL)
        wait_until("restarted", lambda: process(ours) not in (0, first))
        wait_until("ready after it was killed", server.is_ready)
        assert still_there()

        with server.events() as events:
            next(events)
            print("   stops in", stops_at_once(ours), "beside an open event stream")
        podman("start", ours)
        wait_until("ready after it was stopped", server.is_ready)
        assert still_there() and server.allocate("bob")["fence"] > lease["fence"]

        restores_a_dump(compose, database)
        wait_until("ready after a restore", server.is_ready)
        assert still_there() and server.allocate("cid")["fence"] > 1_000_000

        log = podman("logs", ours)
        assert "TokenManager is ready" in log
        assert password not in log and lease["token_value"] not in log, log


def restores_a_dump(compose, database):
    ask = ["exec", database]
    user = ["--username=token_manager", "--dbname=token_manager"]
    podman(*ask, "pg_dump", *user, "--format=custom", "--file=/tmp/tokens.dump")
    podman("stop", "--time", "30", compose.name("server"))
    podman(*ask, "psql", *user, "--command=alter schema token_manager rename to before_restore")
    podman(*ask, "pg_restore", *user, "--exit-on-error", "/tmp/tokens.dump")
    assert "0 problems" in compose.run("run", "--rm", "-T", "server", "doctor", "--after-restore")
    podman("start", compose.name("server"))


def sqlite_alone(key):
    refused = podman("run", "--rm", "--network=none", IMAGE, check=False)
    remedies = ["TOKEN_MANAGER_BOOTSTRAP_KEY", "--anonymous"]
    assert refused.returncode == 1 and all(remedy in refused.stdout for remedy in remedies), refused
    server = Server(free_port(), key.read_text().strip())

    def start(volume="tokens"):
        podman(
            "run", "--detach", "--name=alone", f"--publish=127.0.0.1:{server.port}:4000", f"--volume={volume}:/data",
            f"--volume={key}:{IN_CONTAINER}:ro", f"--env=TOKEN_MANAGER_BOOTSTRAP_KEY_FILE={IN_CONTAINER}", *CAREFULLY,
            IMAGE, "serve", "--allowed-host=server", "--pool-size=3",
        )
        wait_until("ready", server.is_ready)

    start()
    may_do_little("alone")
    assert is_healthy("alone")
    needs_a_key(server, "alone")
    leases = [server.allocate(user) for user in ("ann", "bob")]
    shown = podman("exec", "alone", "token-manager", "tokens", "--active", "--json", f"--key-file={IN_CONTAINER}")
    assert all(lease["token_id"] in shown for lease in leases), shown
    print("   stops in", stops_at_once("alone"))
    # A new container, as in an upgrade.
    podman("rm", "alone")
    start()
    assert [server.lease(lease)["status"] for lease in leases] == ["active"] * 2
    assert "0 problems" in podman("exec", "alone", "token-manager", "doctor")
    with tempfile.TemporaryDirectory() as backups:
        os.chown(backups, 10001, 10001)
        once = ["run", "--rm", *CAREFULLY]
        podman(*once, "--volume=tokens:/data", f"--volume={backups}:/backups", IMAGE, "backup", "/backups/pool.db")
        server.allocate("forgotten")
        podman("rm", "--force", "--time=10", "alone")
        # Into a new volume, with the same command.
        restored = [*once, "--volume=restored:/data", f"--volume={backups}:/backups:ro", IMAGE]
        podman(*restored, "backup", "/data/token-manager.db", "--database=sqlite:/backups/pool.db")
        assert "0 problems" in podman(*restored, "doctor", "--after-restore")
    start("restored")
    assert [found["user"] for found in server.get("/api/leases")["leases"]] == ["bob", "ann"]
    assert server.allocate("cid")["fence"] > 1_000_000
    podman("rm", "--force", "--time=10", "alone")
    podman("volume", "rm", "tokens", "restored")


def served(compose, server, after):
    """Number of lease lists that a server answered, from its log."""
    return podman("logs", compose.name(server)).count("path=/api/leases status=200") - after.get(server, 0)


def wait_in(server, number):
    wait_until(f"{number} wait", lambda: server.get("/api/pool")["waiting"] == number)


def serves_the_queue(compose, proxy):
    """On a full pool: disconnected clients leave the queue, and requests with a key are repeated."""
    while proxy.get("/api/pool")["available"]:
        proxy.allocate("many")
    gone = proxy.waits("gone")
    wait_in(proxy, 1)
    gone.close()
    wait_in(proxy, 0)

    # Some through each server.
    waiting = [proxy.waits(f"waits {number}", **{"Idempotency-Key": f'"{number}"'}) for number in range(6)]
    wait_in(proxy, 6)
    podman("kill", compose.name("server-1"))
    proxy.ask("DELETE", "/api/tokens/clear-active")
    answers = [connection.getresponse() for connection in waiting]
    assert [answer.status for answer in answers] == [200] * 6, [answer.read() for answer in answers]
    podman("start", compose.name("server-1"))


def cluster(key):
    # A small pool on which clients wait.
    files = "compose.cluster.yaml tests/containers/waiting.yaml"
    with Compose(files, "token-manager-cluster", key) as compose:
        proxy, servers = compose.server, ("server-1", "server-2")
        wait_until("ready through the proxy", proxy.is_ready)
        for server in servers:
            wait_until(f"{server} healthy", lambda: is_healthy(compose.name(server)))
            may_do_little(compose.name(server))
        listens_on_loopback_only(compose.port)
        needs_a_key(proxy, compose.name("server-2"))
        assert proxy.ask("GET", "/api/pool", Host="evil.example")[0] == 421

        def shares(*names):
            """Asks the proxy until each server has answered."""
            before = {name: served(compose, name, {}) for name in names}

            def asked():
                proxy.get("/api/leases")
                return all(served(compose, name, before) for name in names)

            wait_until(f"{names} asked by the proxy", asked)

        shares(*servers)
        lease = proxy.allocate("ann")
        leases = ["token-manager", "leases", "--json", f"--key-file={IN_CONTAINER}"]
        seen = [podman("exec", compose.name(server), *leases) for server in servers]
        assert all(lease["lease_id"] in text for text in seen), seen

        with proxy.events() as events:
            place, _, _ = next(events)
            bob = proxy.allocate("bob")
            place, name, data = next(event for event in events if event[1])
            assert (name, data["lease_id"]) == ("lease.started", bob["lease_id"]), (name, data)

        podman("kill", compose.name("server-1"))
        # A request that reaches no server goes to another one.
        more = [proxy.allocate(f"user {number}") for number in range(20)]
        assert proxy.lease(lease)["status"] == "active"
        with proxy.events(after=place) as events:
            missed = [next(event for event in events if event[1])[2]["lease_id"] for _ in more]
            assert missed == [lease["lease_id"] for lease in more]
        podman("start", compose.name("server-1"))
        shares("server-1")

        podman("kill", compose.name("postgres"))
        wait_until("not ready without a database", lambda: not proxy.is_ready())
        status, problem = proxy.ask("POST", "/api/tokens/allocate", {"user_id": "cid"})
        assert (status, problem["code"]) == (503, "not-done"), (status, problem)
        podman("start", compose.name("postgres"))
        wait_until("ready again with its database", proxy.is_ready)
        shares(*servers)
        assert proxy.lease(lease)["status"] == "active"
        assert len(proxy.get("/api/leases")["leases"]) == 2 + len(more)
        serves_the_queue(compose, proxy)
        shares(*servers)
        stops_at_once(compose.name("server-2"))
        proxy.allocate("dan")


build(IMAGE)
# Readable for the container's user, in a folder that other users can't open.
with tempfile.TemporaryDirectory() as folder:
    first_key = make_first_key(Path(folder) / "bootstrap-key")
    for scenario in (server_and_database, sqlite_alone, cluster):
        started = time.monotonic()
        scenario(first_key)
        left = podman("ps", "--all", "--quiet") + podman("volume", "ls", "--quiet")
        assert not left, left
        print(f"-- {scenario.__name__}: {time.monotonic() - started:.0f} s", file=sys.stderr)
