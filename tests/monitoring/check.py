"""Checks deploy/monitoring: the rules with promtool, and everything with a real server and Prometheus."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
RULES = MONITORING / "token-manager.rules.yml"
DOCUMENT = ROOT / "docs/metrics.md"
PROGRAM = ROOT / "target/debug/token-manager"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
NAME = re.compile(r"\b(?:token_manager|process)_[a-z_]+\b")

# The server here speaks plain HTTP. The tests of TLS read this metric by its name.
WITH_TLS = {"token_manager_tls_certificate_expiry_timestamp_seconds"}

failures = []


def check(so, what):
    if not so:
        failures.append(what)
        print("FAILED:", what, file=sys.stderr)


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True)
    check(done.returncode == 0, f"promtool {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(*command, log, env=None):
    process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# API keys by the address of their server.
keys = {}


def ask(url, method="GET", body=None, **headers):
    """Status and text of the answer."""
    for server, key in keys.items():
        if url.startswith(server):
            headers.setdefault("authorization", f"Bearer {key}")
    data = body and json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if data:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(what, so, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} has ended while this was waited for: {what}")
        with contextlib.suppress(OSError):
            if so():
                return
        time.sleep(0.05)
    sys.exit(f"it never came about: {what}")


def makes_a_key(server, folder):
    """Makes a key for Prometheus as docs/metrics.md describes it. Others get no metrics."""
    _, made = ask(f"{server}/api/keys", "POST", {"name": "prometheus", "rights": "read", "pools": ["*"]})
    (folder / "prometheus.key").write_text(json.loads(made)["secret"] + "\n")
    _, narrow = ask(f"{server}/api/keys", "POST", {"name": "narrow", "rights": "read", "pools": ["default"]})
    bearer = f"Bearer {json.loads(narrow)['secret']}"
    check(ask(f"{server}/metrics", authorization=bearer)[0] == 403, "a key for one pool gets no metrics")
    check(ask(f"{server}/metrics", authorization="")[0] == 401, "callers without a key get no metrics")


def traffic(server):
    """Some requests of every kind."""
    for number in range(4):
        ask(f"{server}/api/tokens/allocate", "POST", {"user_id": f"user {number}"})
    _, granted = ask(f"{server}/api/tokens/allocate", "POST", {"user_id": "one more"})
    ask(f"{server}/api/leases/{json.loads(granted)['lease_id']}/release", "POST")
    ask(f"{server}/api/pools/staging", "PUT", {"tokens_generated": 2})
    ask(f"{server}/api/pools/staging/allocate", "POST", {"user": "ann"})
    for path in ["/", "/api/tokens", "/api/pool", "/api/tokens/none", "/nowhere"]:
        ask(server + path)
    ask(f"{server}/api/tokens/clear-active", "DELETE")


def exposed(text):
    """Names of all samples, and of histograms without their suffixes."""
    samples = {re.match(r"[a-z_]+", line)[0] for line in text.splitlines() if line and line[0] != "#"}
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    check(kinds, "the metrics have no types")
    return samples, kinds


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def check_names(dashboard, samples, kinds):
    samples = samples | WITH_TLS
    asked = {name: f"the panel {title}" for title, expr in expressions(dashboard) for name in NAME.findall(expr)}
    asked |= {name: "an alert rule" for name in NAME.findall(RULES.read_text())}
    asked |= {name: "a variable" for name in NAME.findall(json.dumps(dashboard["templating"]))}
    for name, where in asked.items():
        check(name in samples, f"{where} uses {name}, which the server does not have")
    documented = set(NAME.findall(DOCUMENT.read_text()))
    for name in kinds:
        check(name in documented, f"{name} is not in docs/metrics.md")
    for name in documented - samples - set(kinds):
        check(False, f"docs/metrics.md lists {name}, which the server does not have")


def check_pools(dashboard, text):
    """The variable `pool` selects in each panel of a metric by pool."""
    by_pool = set(re.findall(r'^(\w+){pool="', text, re.M))
    check("token_manager_tokens" in by_pool, "tokens are by pool")
    for title, expr in expressions(dashboard):
        for name, selector in re.findall(r"\b(token_manager_\w+){([^}]*)}", expr):
            check(('pool=~"$pool"' in selector) == (name in by_pool), f"the panel {title} selects {name} by pool")
    [variable] = [variable for variable in dashboard["templating"]["list"] if variable["name"] == "pool"]
    check(variable["multi"] and variable["includeAll"], "several pools can be selected, and all")


def check_alerts():
    headings = set(re.findall(r"^### (\S+)$", DOCUMENT.read_text(), re.M))
    alerts = re.findall(r"- alert: (\S+)", RULES.read_text())
    runbooks = re.findall(r"runbook: (\S+)", RULES.read_text())
    check(runbooks == [f"docs/metrics.md#{alert.lower()}" for alert in alerts], "each alert has its runbook")
    check(set(alerts) == headings, f"alerts and headings differ: {set(alerts) ^ headings}")


def check_scraped(server_port, folder, dashboard, log):
    """A real Prometheus accepts the rules and metrics and answers the dashboard's queries."""
    config = (MONITORING / "prometheus.yml").read_text()
    config = config.replace("localhost:4000", f"localhost:{server_port}").replace(": 15s", ": 1s")
    config = config.replace("/etc/prometheus/token-manager.key", f"{folder}/prometheus.key")
    (folder / "prometheus.yml").write_text(config)
    (folder / RULES.name).write_text(RULES.read_text())
    # It also looks for the file with the key.
    promtool("check", "config", folder / "prometheus.yml")
    address = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    arguments += [f"--web.listen-address={address}", "--log.level=warn"]

    def query(expr):
        status, text = ask(f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
        return status, json.loads(text).get("data", {}).get("result"), text

    with running("prometheus", *arguments, log=log) as prometheus:
        until("Prometheus is ready", lambda: ask(f"http://{address}/-/ready")[0] == 200, prometheus)
        so = lambda: query('token_manager_allocations_total{pool="default"} == 5')[1]
        until("Prometheus has scraped the server", so, prometheus)
        for title, expr in expressions(dashboard):
            expr = expr.replace("$__rate_interval", "1m").replace("$instance", ".+").replace("$job", ".+").replace("$pool", ".+")
            status, _, text = query(expr)
            check(status == 200, f"the panel {title}: {text}")
        _, pools, _ = query("count by (pool) (token_manager_tokens)")
        check({found["metric"]["pool"] for found in pools} == {"default", "staging"}, f"the pools are {pools}")
        _, [up], _ = query("up")
        check(up["value"][1] == "1" and up["metric"]["job"] == "token-manager", f"up is {up}")

        def evaluated():
            _, text = ask(f"http://{address}/api/v1/rules")
            rules = [rule for group in json.loads(text)["data"]["groups"] for rule in group["rules"]]
            check(all(rule["health"] != "err" for rule in rules), text)
            return failures or (rules and all(rule["health"] == "ok" for rule in rules))

        until("the rules are evaluated", evaluated, prometheus)
        kinds = json.loads(ask(f"http://{address}/api/v1/metadata")[1])["data"]
        check(kinds["token_manager_lease_hold_seconds"][0]["type"] == "histogram", "a histogram is one")


def main():
    promtool("check", "rules", RULES)
    promtool("test", "rules", MONITORING / "token-manager.rules.test.yml")
    check_alerts()
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        log = (folder / "log").open("w+")
        port = free_port()
        server = f"http://127.0.0.1:{port}"
        arguments = ["serve", "--listen", f"127.0.0.1:{port}", "--database", f"sqlite:{folder}/pool.db", "--pool-size", "3", "--access-log=false"]
        keys[server] = subprocess.run([PROGRAM, "keys", "generate"], check=True, capture_output=True, text=True).stdout.strip()
        env = {**os.environ, "TOKEN_MANAGER_BOOTSTRAP_KEY": keys[server]}
        with running(PROGRAM, *arguments, log=log, env=env) as process:
            until("the server is ready", lambda: ask(f"{server}/health/ready")[0] == 200, process)
            makes_a_key(server, folder)
            traffic(server)
            text = ask(f"{server}/metrics")[1]
            said = promtool("check", "metrics", text=text)
            check(said == "", f"promtool check metrics says: {said}")
            samples, kinds = exposed(text)
            check_names(dashboard, samples, kinds)
            check_pools(dashboard, text)
            open_metrics = ask(f"{server}/metrics", accept=OPEN_METRICS)[1]
            check(open_metrics.endswith("# EOF\n"), "OpenMetrics has an end")
            check_scraped(port, folder, dashboard, log)
        if failures:
            log.seek(0)
            print(log.read(), file=sys.stderr)
    if failures:
        sys.exit(f"{len(failures)} failures")


main()
