"""Runs the commands of documents on real servers and compares the answers shown with the real ones.

Blocks of a document, by their info string:

    sh          pasted into one shell, in order
    sh server   starts a server; the one before is stopped first
    sh events   runs beside the others until the server stops
    json, text  output of the block before (`text events`: the end of the output of `sh events`)
    toml, csv   saved as the file that follows, such as `toml pools.toml`

Answers are compared by shape: the same members, types and texts; ids, times and numbers may differ.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "target/debug/token-manager"
PATIENCE = 30
BLOCK = re.compile(r"^```(sh|json|text|toml|csv)(?: ([\w.]+))?\n(.*?)^```$", re.M | re.S)
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z")
# Programs of the reader's own, which the recipes call.
STUBS = ["report.sh"]


def shape(value):
    """The value with ids, times and numbers replaced by their kinds."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return "NUMBER"
    return TIME.sub("TIME", UUID.sub("ID", value))


def values(text):
    """The JSON values that a text consists of."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def words(text):
    """A text's lines by shape."""
    lines = [re.sub(r"\d+", "N", shape(line)).rstrip() for line in text.strip().splitlines()]
    return [line for line in lines if line]


class Reader:
    """A reader at terminals: one shell, at most one server and one stream of events."""

    def __init__(self, folder):
        self.folder = folder
        self.server = self.stream = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        tools = folder / "bin"
        tools.mkdir()
        (tools / "token-manager").symlink_to(PROGRAM)
        for stub in STUBS:
            (folder / stub).write_text("#!/bin/sh\n")
            (folder / stub).chmod(0o755)
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PORT": str(self.port),
            "CI_JOB_ID": "42",
            "TOKEN_MANAGER_SERVER": f"http://localhost:{self.port}",
            "TOKEN_MANAGER_LOG": "warn",
            "no_proxy": "localhost",
        }
        with open(folder / "shell.out", "w") as file:
            self.shell = subprocess.Popen(
                ["bash"], cwd=folder, env=self.environment, stdin=subprocess.PIPE, stdout=file, text=True, start_new_session=True,
            )
        self.told = 0

    def here(self, text):
        return text.replace("cargo run --release -- ", "token-manager ").replace("localhost:4000", f"localhost:{self.port}")

    def there(self, text):
        return text.replace(f"localhost:{self.port}", "localhost:4000")

    def start(self, command, output):
        with open(self.folder / output, "w") as file:
            return subprocess.Popen(
                ["bash", "-c", f"exec {self.here(command)}"],
                cwd=self.folder, env=self.environment, stdout=file, start_new_session=True,
            )

    def output(self, name, has):
        """A file's text, once `has` says that it is complete."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            text = self.there((self.folder / name).read_text())
            if has(text):
                return text
            time.sleep(0.02)
        raise AssertionError(f"not in time: {name} has\n{text}")

    def stop(self):
        for process in (self.stream, self.server):
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE)
        self.server = self.stream = None

    def leave(self):
        self.shell.stdin.close()
        self.shell.wait(PATIENCE)
        self.stop()

    def run(self, kind, command):
        """Runs a block and returns its output."""
        if kind == "server":
            self.stop()
            self.server = self.start(command, "server.out")
            return self.output("server.out", lambda text: "ready" in text)
        if kind == "events":
            self.stream = self.start(command, "events.out")
            return self.output("events.out", lambda text: "id:" in text)
        print(f"{self.here(command)}echo 'exit code' $?", file=self.shell.stdin, flush=True)
        output = self.output("shell.out", lambda text: re.search(r"^exit code \d+$", text[self.told :], re.M))[self.told :]
        self.told += len(output)
        output, code = re.fullmatch(r"(.*)^exit code (\d+)\n", output, re.M | re.S).groups()
        assert code == "0", f"exit code {code}, with the output\n{output}"
        return output

    def events(self, shown):
        """The end of the events' output, once it has the last event that is shown."""
        expected = words(shown)
        text = self.output("events.out", lambda text: text.endswith("\n\n") and words(text)[-1:] == expected[-1:])
        return "\n".join(text.strip().splitlines()[-len(shown.strip().splitlines()) :])


def check(document):
    """Runs a document's blocks; returns how many there are."""
    count = 0
    text = (ROOT / document).read_text()
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(pathlib.Path(folder))
        try:
            output = ""
            for block in BLOCK.finditer(text):
                language, kind, body = block.groups()
                line = text.count("\n", 0, block.start()) + 1
                try:
                    if language == "sh":
                        if kind is None and "scripts/test" in body:
                            continue
                        output = reader.run(kind, body)
                    elif language in ("toml", "csv"):
                        (reader.folder / kind).write_text(body)
                    elif language == "json":
                        assert shape(values(output)) == shape(values(body)), f"the answer was\n{output}"
                    else:
                        real = reader.events(body) if kind == "events" else output
                        assert words(real) == words(body), f"the output was\n{real}"
                except (AssertionError, ValueError, subprocess.TimeoutExpired) as error:
                    sys.exit(f"{document}:{line}: {error}")
                count += 1
        finally:
            reader.leave()
    return count


for name in sys.argv[1:]:
    print(f"{name}: {check(name)} blocks hold")
