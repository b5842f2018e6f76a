"""Clients that allocate and release without pause and remember the answers."""

import http.client
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field


@dataclass
class Told:
    """Confirmed changes and their times."""

    started: dict = field(default_factory=dict)  # lease id -> (moment, fence)
    ended: dict = field(default_factory=dict)  # lease id -> (moment, reason)
    answers: dict = field(default_factory=dict)  # other answers -> how often
    wrong: list = field(default_factory=list)  # answers that no client should get

    def count(self, what):
        self.answers[what] = self.answers.get(what, 0) + 1

    def fence(self):
        return max(fence for _, fence in self.started.values())

    def before(self, moment):
        """Leases confirmed by a moment, each with the reason of its end if that was confirmed, too."""
        ends = {lease: reason for lease, (at, reason) in self.ended.items() if at < moment}
        return {lease: ends.get(lease) for lease, (at, _) in self.started.items() if at < moment}


class Load:
    """Client threads; each moves on to the next server when one can't answer."""

    def __init__(self, ports, clients=6, **wishes):
        self.told, self.ports, self.wishes = Told(), ports, wishes
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self.told

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def work(self, number):
        client = Client(self, number)
        while not self.stopping.is_set():
            lease = client.ask("/api/tokens/allocate", {"user_id": f"client {number}", **self.wishes})
            if not lease:
                continue
            now = time.monotonic()
            self.told.started[lease["lease_id"]] = (now, lease["fence"])
            if lease["evicted"]:
                self.told.ended[lease["evicted"]["lease_id"]] = (now, "evicted")
            if random.random() < 0.5 and client.ask(f"/api/leases/{lease['lease_id']}/release", {}):
                self.told.ended[lease["lease_id"]] = (time.monotonic(), "released")


class Client:
    """Sends requests to one server on one connection while it answers."""

    def __init__(self, load, number):
        self.load, self.turn, self.connection = load, number, None

    def ask(self, path, body):
        """The answer; None without one, or if it is not a success."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        while not self.load.stopping.is_set():
            try:
                status, answer = self.once(path, json.dumps(body), headers)
            except (OSError, http.client.HTTPException) as error:
                self.load.told.count(type(error).__name__)
                self.elsewhere()
                continue
            if status == 200:
                return answer
            if status == 503:
                self.elsewhere()
                continue
            return None
        return None

    def once(self, path, body, headers):
        if not self.connection:
            port = self.load.ports[self.turn % len(self.load.ports)]
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("POST", path, body, headers)
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        code = answer.get("code", "")
        self.load.told.count(f"{response.status} {code}".strip())
        again = response.status == 503 and response.headers.get("Retry-After")
        # Evicted leases can't be released.
        if not (response.status == 200 or again or code == "lease-over"):
            self.load.told.wrong.append((response.status, answer))
        return response.status, answer

    def elsewhere(self):
        """The next server, with a new connection."""
        if self.connection:
            self.connection.close()
        self.turn, self.connection = self.turn + 1, None
        time.sleep(0.01)
