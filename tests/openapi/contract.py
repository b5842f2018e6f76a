"""Sends real servers, on both databases, requests that the document allows and forbids, with schemathesis;
and compares the document's examples with its schemas."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import jsonschema_rs

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / "target/debug/token-manager"
SCHEMATHESIS = pathlib.Path(sys.executable).parent / "schemathesis"
PATIENCE = 30
LONGEST = 240


class Process:
    """A process that ends with the block; `line` is its next line."""

    def __init__(self, *command, **environment):
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log(),
            env={**os.environ, **environment},
        )

    def log(self):
        self.errors = tempfile.TemporaryFile("w+")
        return self.errors

    def line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            self.errors.seek(0)
            sys.exit(f"{self.process.args[0]} said nothing:\n{self.errors.read()}")
        return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def conforms(name, database):
    """Whether a server on this database fulfils the document, for an administrator."""
    began = time.monotonic()
    key = subprocess.run([PROGRAM, "keys", "generate"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    settings = ["--listen=127.0.0.1:0", "--pool-size=20", "--max-lease=10m", "--log=off"]
    serve = [PROGRAM, "serve", f"--database={database}", *settings]
    with Process(*serve, TOKEN_MANAGER_BOOTSTRAP_KEY=key) as server:
        url = re.search(r"http://[^ ]*?:(\d+)", server.line())
        url = f"http://127.0.0.1:{url[1]}"
        command = [SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run", f"{url}/openapi.json"]
        options = ["--checks=all", "--phases=examples,coverage,fuzzing,stateful", "--no-color"]
        options += ["--continue-on-failure", "--warnings=off"]
        ran = subprocess.run(
            [*command, *options], cwd=HERE, text=True, timeout=LONGEST, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "TOKEN_MANAGER_KEY": key},
        )
    last = ran.stdout.strip().splitlines()[-1].strip("= ")
    print(f"{name}: {last} ({time.monotonic() - began:.0f} s)", flush=True)
    if ran.returncode != 0:
        print(ran.stdout, flush=True)
    return ran.returncode == 0


def examples(node, at=""):
    """Schemas of the document that have an example, with the example."""
    if isinstance(node, dict):
        if "schema" in node and "examples" in node and isinstance(node["examples"], dict):
            for name, example in node["examples"].items():
                yield f"{at}/examples/{name}", node["schema"], example
        for key, value in node.items():
            yield from examples(value, f"{at}/{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from examples(value, f"{at}/{place}")


def wrong_examples():
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    wrong, count = [], 0
    for at, schema, example in examples(document):
        if "$ref" in example:
            example = document["components"]["examples"][example["$ref"].rsplit("/", 1)[1]]
        whole = {**schema, "components": document["components"]}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        wrong += [f"{at}: {error.message}" for error in validator.iter_errors(example["value"])]
        count += 1
    print(f"examples: {count} compared with their schemas, {len(wrong)} wrong")
    return wrong


def main():
    wrong = wrong_examples()
    cluster = ROOT / "target/debug/examples/cluster"
    with tempfile.TemporaryDirectory() as folder, Process(cluster) as postgres:
        databases = {"SQLite": f"sqlite:{folder}/pool.db", "PostgreSQL": postgres.line()}
        with concurrent.futures.ThreadPoolExecutor() as both:
            good = all(list(both.map(conforms, databases, databases.values())))
    if wrong:
        sys.exit("\n".join(wrong))
    sys.exit(0 if good else 1)


main()
