"""Replaces servers under load: several on PostgreSQL one after the other, and the one on SQLite."""

import sys
import time

from load import Load
from servers import Server, run, token_manager, until

# Some requests always wait for a token, and get `stopping` when their server stops.
POLICY = ("--pool-size=4", "--when-full=wait", "--lease=300ms")


def replaced_under_load(folder, cluster):
    cluster.run("createdb", "-h", str(cluster.path), "rolling")
    database = cluster.url("rolling")
    servers = [Server(folder, database, *POLICY) for _ in range(2)]
    exchange(folder, "two servers on PostgreSQL", database, servers)
    for server in servers:
        server.stop()
    database = f"sqlite:{folder.path}/rolling.db"
    servers = [Server(folder, database, *POLICY)]
    took = exchange(folder, "one server on SQLite", database, servers)
    print(f"SQLite: a restart took {max(took) * 1000:.0f} ms at most")


def exchange(folder, name, database, servers):
    """Stops each server and starts another in its place, twice. Returns the time without each server."""
    took = []
    with Load([server.port for server in servers], clients=8, wait_seconds=5) as told:
        for number in [*range(len(servers))] * 2:
            count = len(told.started)
            until("more leases", lambda: len(told.started) > count + 50)
            since = time.monotonic()
            servers[number].stop()
            servers[number] = Server(folder, database, port=servers[number].port)
            took.append(time.monotonic() - since)
        count = len(told.started)
        until("leases after the last exchange", lambda: len(told.started) > count + 50)
    leases = servers[0].leases()
    missing = told.started.keys() - leases.keys()
    wrong = [lease for lease, (_, reason) in told.ended.items() if leases[lease]["end_reason"] != reason]
    if told.wrong or missing or wrong:
        sys.exit(f"{name}: answers {told.wrong[:3]}, missing {missing}, ended otherwise {wrong}")
    code, said = run(token_manager("doctor", database, "--listen=127.0.0.1:0"))
    if code:
        sys.exit(f"{name}: {said}")
    print(f"{name}, replaced under load: {len(told.started)} leases, none missing; clients saw {told.answers}")
    return took
