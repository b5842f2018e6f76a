"""Backs up each database under load, kills everything, restores, and compares with the confirmed answers."""

import re
import sys
import time
from datetime import datetime
from pathlib import Path

from load import Load
from servers import Cluster, Folder, Server, must, run, token_manager, until
from rolling import replaced_under_load

LEASE = 3
POLICY = ("--pool-size=20", f"--lease={LEASE}s")


def check(right, what):
    if not right:
        sys.exit(f"failed: {what}")


def loaded(server, back_up):
    """
    Answers to clients before, during and after `back_up`; its start; the events and ETags of that time, and an API
    key that is revoked after the backup.
    """
    # The last key of an administrator can't be revoked.
    server.make_key("first")
    key = server.make_key("second")
    with Load([server.port]) as told:
        until("some leases", lambda: len(told.started) > 300)
        early = position(server)
        moments = back_up()
        count = len(told.started)
        until("leases after the backup", lambda: len(told.started) > count + 100)
        late, tag = position(server), server.get("/api/tokens")[1]["ETag"]
        server.ask("DELETE", "/api/keys/second", key)
        check(server.get("/api/pool", key)[0] == 401, "the key is revoked")
        server.kill()
        over = time.monotonic() + LEASE
    check(not told.wrong, f"answers under load: {told.wrong[:3]}")
    return told, moments, (early, late, tag, key, over)


def position(server):
    """Id of the newest event."""
    pool = server.pool()
    return f"{pool['epoch']}-{pool['version']}"


def doctor(database, *arguments):
    return run(token_manager("doctor", database, "--listen=127.0.0.1:0", *arguments))


def restored(folder, name, database, told, moment, seen):
    """Starts a server on the restored database as in docs/operations.md, and compares it with the answers."""
    code, said = doctor(database, "--after-restore")
    check(code == 0 and "done     after restore: " in said and "ok       audit: " in said, f"{name}: {said}")
    server = Server(folder, database)
    code, said = doctor(database, "--after-restore")
    check(code == 1 and "in use by" in said, f"{name}: refused while a server runs: {said}")
    early, late, tag, key, over = seen
    check(server.get("/api/pool", key)[0] == 200, f"{name}: the key is that of the backup, not revoked yet")
    for last in (early, late):
        event, data = server.first_event(last)
        check((event, data.get("reason")) == ("resync", "other-epoch"), f"{name}: after {last}: {event} {data}")
    check(server.get("/api/tokens", {"If-None-Match": tag})[0] == 200, f"{name}: an ETag from before")

    # Every lease in the backup is over then.
    time.sleep(max(0, over - time.monotonic()))
    leases, expected = server.leases(), told.before(moment)
    missing = expected.keys() - leases.keys()
    check(not missing, f"{name}: {len(missing)} of {len(expected)} confirmed leases are missing: {missing}")
    wrong = {id: (reason, leases[id]) for id, reason in expected.items() if reason and leases[id]["end_reason"] != reason}
    check(not wrong, f"{name}: confirmed ends: {wrong}")
    overdue = [lease for lease in leases.values() if not lease["ended_at"] or before_deadline(lease) < 0]
    check(not overdue, f"{name}: leases past their deadline: {overdue}")
    check(server.pool()["active"] == 0, f"{name}: no token is in use")

    with Load([server.port]) as again:
        until("leases after the restore", lambda: len(again.started) > 50)
    check(not again.wrong, f"{name}: {again.wrong[:3]}")
    smallest = min(fence for _, fence in again.started.values())
    check(smallest > told.fence(), f"{name}: fence {smallest} repeats, up to {told.fence()}")
    server.stop()
    code, said = doctor(database)
    check(code == 0 and "ok       audit: " in said, f"{name}: {said}")
    print(f"{name}: {len(expected)} leases acknowledged before the backup, {len(told.started)} in all, none missing")


def before_deadline(lease):
    """Time from the end of a lease to its deadline."""
    deadline, end = (datetime.fromisoformat(lease[name]) for name in ("expires_at", "ended_at"))
    return (deadline - end).total_seconds()


def sqlite(folder):
    database = f"sqlite:{folder.path}/pool.db"
    server = Server(folder, database, *POLICY)

    def back_up():
        moment = time.monotonic()
        said = must(token_manager("backup", database, f"{folder.path}/copy.db"))
        check(re.search(r"Backed up .* up to version \d+ of epoch 1", said), said)
        return moment

    told, moment, seen = loaded(server, back_up)
    code, said = run(token_manager("backup", database, f"{folder.path}/copy.db"))
    check(code == 1 and "is there already" in said, f"a copy is not replaced: {said}")
    [secret] = re.findall(rb"_(\w{43})_", seen[3]["Authorization"].encode())
    check(secret not in Path(f"{folder.path}/copy.db").read_bytes(), "the backup has the key only as a hash")
    restored(folder, "SQLite", f"sqlite:{folder.path}/copy.db", told, moment, seen)


def postgres(folder, cluster):
    cluster.run("createdb", "-h", str(cluster.path), "pool")
    server = Server(folder, cluster.url("pool"), *POLICY)
    dump, copy = cluster.path / "pool.dump", Cluster(folder, "copy")

    def back_up():
        moments = [time.monotonic()]
        cluster.run("pg_dump", "--format=custom", "--schema=token_manager", f"--file={dump}", cluster.url("pool"))
        moments.append(time.monotonic())
        cluster.run("pg_basebackup", "-h", str(cluster.path), "-D", str(copy.data), "-c", "fast", "--no-sync")
        return moments

    told, [of_dump, of_copy], seen = loaded(server, back_up)
    cluster.crash()
    copy.start()
    restored(folder, "PostgreSQL by pg_basebackup", copy.url("pool"), told, of_copy, seen)
    copy.run("createdb", "-h", str(copy.path), "restored")
    copy.run("pg_restore", "--exit-on-error", f"--dbname={copy.url('restored')}", str(dump))
    restored(folder, "PostgreSQL by pg_dump", copy.url("restored"), told, of_dump, seen)
    return copy


def main():
    with Folder() as folder:
        sqlite(folder)
        cluster = postgres(folder, Cluster(folder, "cluster").make().start())
        replaced_under_load(folder, cluster)


if __name__ == "__main__":
    main()
