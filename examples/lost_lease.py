#!/usr/bin/env python3
"""A client that loses its lease, notices, and does no damage.

    token-manager serve --database sqlite:example.db --pool-size 1 --lease 3s --max-lease 10s
    python3 examples/lost_lease.py http://localhost:4000

Ann takes the only token and works with it, then sleeps through her deadline, as a program on a suspended
machine does. Bob gets the token. Ann wakes up and continues, and is stopped three times: by her own
clock, by the resource, which has seen a later fence, and by the server, which releases only her own
lease. docs/leases.md explains each step.

It uses only the standard library, so that you can copy parts of it.
"""

import json
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


def now():
    """Seconds on a monotonic clock that counts sleep. On Linux and macOS time.monotonic() stops in sleep,
    so a lease would seem to last longer than it does."""
    # Linux has the first clock. The second counts sleep on macOS. Windows has neither and needs neither.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(time, name):
            return time.clock_gettime(getattr(time, name))
    return time.monotonic()


def pause(seconds):
    """Sleeps up to half as long again, so that clients don't all retry at the same moment."""
    time.sleep(seconds * random.uniform(1, 1.5))


class Problem(Exception):
    """An error response; `code` says which."""

    def __init__(self, document):
        super().__init__(document["detail"])
        self.code = document["code"]
        self.document = document


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: requests are for the named server only."""

    def redirect_request(self, *_):
        return None


class Pool:
    """Client of a server."""

    # Bytes; far more than any response to these requests.
    LARGEST = 1 << 20

    # Maximum seconds between two tries, whatever `Retry-After` says.
    LONGEST_PAUSE = 60

    # Nothing was done, or the outcome is unknown.
    WORTH_REPEATING = ("busy", "not-done", "outcome-unknown", "stopping", "timed-out")

    def __init__(self, url):
        self.url = url.rstrip("/")
        # Requests to this machine bypass the proxy of the environment.
        local = urllib.parse.urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
        proxies = urllib.request.ProxyHandler({} if local else None)
        self.opener = urllib.request.build_opener(NoRedirects, proxies)

    def ask(self, method, path, body=None, headers=None, timeout=75):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with self.opener.open(request, timeout=timeout) as answer:
                return self.read(answer)
        except urllib.error.HTTPError as error:
            try:
                problem = Problem(self.read(error))
            except (ValueError, KeyError, TypeError):
                raise SystemExit(f"{self.url} answers with status {error.code}") from None
            seconds = error.headers.get("retry-after", "")
            problem.retry_after = min(int(seconds), self.LONGEST_PAUSE) if seconds.isdecimal() else 1
            raise problem from None

    def read(self, answer):
        body = answer.read(self.LARGEST + 1)
        if len(body) > self.LARGEST:
            raise SystemExit(f"{self.url} sends more than any TokenManager")
        return json.loads(body)

    def allocate(self, user, **options):
        """Returns a lease for the user. Repeats the request with one key until a response arrives, so that
        a lost response costs no second token."""
        key = {"idempotency-key": f'"{uuid.uuid4()}"'}
        for attempt in range(10):
            asked_at = now()
            try:
                answer = self.ask("POST", "/api/tokens/allocate", {"user_id": user, **options}, key)
            except Problem as problem:
                if problem.code not in self.WORTH_REPEATING:
                    raise
                pause(problem.retry_after)
            except OSError:
                # No connection, or one that broke before the response.
                pause(min(0.1 * 2**attempt, 5))
            else:
                if answer["status"] == "active":
                    return Lease(self, answer, asked_at)
                # The response came so late that the lease is over; its key is used up.
                key = {"idempotency-key": f'"{uuid.uuid4()}"'}
        raise SystemExit(f"{self.url} does not respond")


class Lease:
    """A leased token."""

    def __init__(self, pool, answer, asked_at):
        self.pool = pool
        self.id = answer["lease_id"]
        self.token_id = answer["token_id"]
        self.value = answer["token_value"]
        self.fence = answer["fence"]
        self.lasts(answer["expires_in"], asked_at)

    def lasts(self, seconds, asked_at):
        """Counts from before the request was sent, so this deadline is never later than the server's."""
        self.deadline = asked_at + seconds

    def left(self):
        """Seconds that are left at least, unless the lease is evicted or cleared."""
        return max(0.0, self.deadline - now())

    def ask(self):
        return self.pool.ask("GET", f"/api/leases/{self.id}")

    def renew(self):
        asked_at = now()
        self.lasts(self.pool.ask("POST", f"/api/leases/{self.id}/renew")["expires_in"], asked_at)

    def release(self):
        return self.pool.ask("POST", f"/api/leases/{self.id}/release")


class Resource:
    """A protected resource, such as a test account or a device. It remembers the largest fence that it has
    seen and rejects smaller ones."""

    def __init__(self):
        self.fence = 0
        self.lines = []

    def write(self, line, fence):
        if fence < self.fence:
            raise PermissionError(f"fence {fence} is older than {self.fence}")
        self.fence = fence
        self.lines.append(line)


def tell(line):
    print(line, flush=True)


def main(url):
    pool = Pool(url)
    state = pool.ask("GET", "/api/pool")
    policy = state["policy"]
    lease_seconds, max_lease_seconds = policy["lease_seconds"], policy["max_lease_seconds"]
    if state["size"] != 1 or lease_seconds > 5 or max_lease_seconds < 2 * lease_seconds:
        raise SystemExit(f"This example needs one token, short leases and renewal:\n{__doc__}")
    resource = Resource()

    ann = pool.allocate("ann")
    tell(f"ann has the token, with fence {ann.fence}, for {lease_seconds} s")
    resource.write("ann's first line", ann.fence)
    time.sleep(ann.left() / 2)
    ann.renew()
    tell("ann renewed her lease")
    resource.write("ann's second line", ann.fence)

    tell("ann sleeps through her deadline")
    time.sleep(ann.left() + 0.1)

    bob = pool.allocate("bob", wait_seconds=10)
    tell(f"bob has the token, with fence {bob.fence}")
    resource.write("bob's first line", bob.fence)

    # From here on ann would do damage if she were not stopped.
    tell(f"ann's own clock says: {ann.left():.0f} s left")
    try:
        resource.write("ann's third line", ann.fence)
    except PermissionError as refusal:
        tell(f"the resource says: {refusal}")
    seen = ann.ask()
    holder = seen["current"]["user"]
    tell(f"the server says: {seen['status']} ({seen['end_reason']}), {holder} has it now")
    for name, attempt in (("renew", ann.renew), ("release", ann.release)):
        try:
            attempt()
        except Problem as problem:
            tell(f"ann can't {name}: {problem.code} ({problem.document['end_reason']})")

    tell(f"bob's lease is {bob.ask()['status']}")
    tell(f"bob's release: {bob.release()['status']}")
    tell("written: " + ", ".join(resource.lines))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:4000")
