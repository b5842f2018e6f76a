"""Runs the configurations of nginx and Caddy in docs/operations.md in front of a server with API keys.

Only addresses, files and the way to a certificate differ from the document.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "target/debug/token-manager"
PATIENCE = 30


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def block(text, begin):
    """The block of the document that begins with this line."""
    found = re.findall(rf"^```\w*\n({re.escape(begin)}.*?)^```$", text, re.M | re.S)
    assert len(found) == 1, f"{len(found)} blocks begin with {begin!r}"
    return found[0]


def adapted(text, replaced):
    for old, new in replaced.items():
        assert old in text, f"docs/operations.md has no {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def running(command, ready, **options):
    """A process that is asked to end with the block, and that is ready soon."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, **options)
        try:
            until = time.monotonic() + PATIENCE
            while not ready():
                if process.poll() is not None or time.monotonic() > until:
                    said.seek(0)
                    sys.exit(f"{command[0]} did not start:\n{said.read()}")
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


class Client:
    """curl with the certificate of the proxy."""

    def __init__(self, port, folder, secret):
        self.secret = secret
        self.url = f"https://tokens.example:{port}"
        self.common = ["curl", "-s", "--cacert", folder / "proxy.pem", "--max-time", str(PATIENCE)]
        self.common += ["--resolve", f"tokens.example:{port}:127.0.0.1"]
        self.key = ["-H", f"@{folder / 'header'}"]

    def curl(self, *arguments):
        return subprocess.run([*self.common, *arguments], capture_output=True, text=True, check=False)

    def status(self, path, *arguments):
        return int(self.curl("-o", os.devnull, "-w", "%{http_code}", *arguments, self.url + path).stdout)

    def json(self, path, *arguments):
        return json.loads(self.curl(*self.key, *arguments, self.url + path).stdout)


def check(name, client):
    """What clients with keys, browsers and Prometheus see through the proxy."""
    assert client.status("/api/pool") == 401, name
    assert client.status("/api/pool", *client.key) == 200, name
    assert client.status("/metrics", *client.key) == 404, name
    lease = client.json("/api/tokens/allocate", "--json", '{"user_id": "ann"}')
    assert lease["user"] == "ann", lease
    request_id = client.curl("-i", *client.key, client.url + "/health/live").stdout.lower()
    assert "x-request-id:" in request_id, request_id
    # A browser signs in: the proxy keeps Origin and Set-Cookie.
    sign_in = ["-i", "-H", f"Origin: {client.url}", "-H", "Sec-Fetch-Site: same-origin"]
    session = client.curl(*sign_in, "--json", json.dumps({"key": client.secret}), client.url + "/api/session").stdout
    assert "set-cookie: __host-token-manager=" in session.lower(), session
    # An event arrives although the stream does not end.
    events = subprocess.Popen(
        [*client.common, *client.key, "-N", client.url + "/api/events"], stdout=subprocess.PIPE, text=True
    )
    try:
        while not (line := events.stdout.readline()).startswith("id:"):
            assert line, f"{name}: the stream ended"
    finally:
        events.terminate()
        events.wait(PATIENCE)
    print(f"{name}: as documented")


def nginx(text, port, behind, folder):
    configuration = adapted(
        block(text, "upstream token_manager {"),
        {
            "    server 127.0.0.1:4000;\n    server 127.0.0.1:4001;": f"    server 127.0.0.1:{behind};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "/etc/ssl/tokens.example.pem": str(folder / "proxy.pem"),
            "/etc/ssl/private/tokens.example.key": str(folder / "proxy.key"),
        },
    )
    places = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root, nginx would give its workers another user, which can't read the folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        f"{user}pid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n{places}{configuration}}}\n"
    )
    command = ["nginx", "-e", "stderr", "-c", file, "-p", folder]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0 and "[warn]" not in tested.stderr, tested.stderr
    return [*command, "-g", "daemon off;"], {}


def caddy(text, port, behind, folder):
    configuration = adapted(
        block(text, "tokens.example {"),
        {
            "tokens.example {": f"tokens.example:{port} {{\n\ttls {folder}/proxy.pem {folder}/proxy.key\n\tbind 127.0.0.1",
            "127.0.0.1:4000 127.0.0.1:4001": f"127.0.0.1:{behind}",
        },
    )
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + configuration)
    return ["caddy", "run", "--config", file, "--adapter", "caddyfile"], {"HOME": str(folder)}


def main():
    text = (ROOT / "docs/operations.md").read_text()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-proxies-"))
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=tokens.example", "-addext", "subjectAltName=DNS:tokens.example"]
            + ["-keyout", folder / "proxy.key", "-out", folder / "proxy.pem"],
            check=True,
            capture_output=True,
        )
        key = subprocess.run([PROGRAM, "keys", "generate"], check=True, capture_output=True, text=True).stdout.strip()
        (folder / "header").write_text(f"Authorization: Bearer {key}\n")
        (folder / "key").write_text(key)
        behind = free_port()
        serve = [PROGRAM, "serve", "--listen", f"127.0.0.1:{behind}", "--database", f"sqlite:{folder}/pool.db"]
        serve += ["--allowed-host", "tokens.example", "--bootstrap-key-file", folder / "key", "--log", "warn"]
        health = ["curl", "-sf", "-o", os.devnull, f"http://127.0.0.1:{behind}/health/ready"]
        with running(serve, lambda: subprocess.run(health, check=False).returncode == 0):
            for proxy in (nginx, caddy):
                port = free_port()
                command, more = proxy(text, port, behind, folder)
                client = Client(port, folder, key)
                ready = lambda: client.status("/health/live") == 200
                with running(command, ready, env={**os.environ, **more}):
                    check(proxy.__name__, client)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
