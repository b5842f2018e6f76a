"""Checks the manifests in deploy/kubernetes with Kubernetes' schemas, and starts the program with their settings."""

import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import kubernetes_validate
import yaml

MANIFESTS = Path("deploy/kubernetes")
PROGRAM = Path("target/debug/token-manager").resolve()
# The oldest version with all used features, and the newest with schemas.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
KEY_FILE = "TOKEN_MANAGER_BOOTSTRAP_KEY_FILE"


def read(name):
    return yaml.safe_load((MANIFESTS / name).read_text(encoding="utf-8"))


def check_schemas(manifests):
    for name, manifest in manifests.items():
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                sys.exit(f"{name} is not what Kubernetes {version} understands: {error.message} at {list(error.path)}")


def check_kustomization(kustomization, version):
    files = {path.name for path in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    expect(set(kustomization["resources"]) == files, "kustomization.yaml lists every manifest")
    expect([image["newTag"] for image in kustomization["images"]] == [version], f"the image's tag is {version}")


def expect(holds, what):
    if not holds:
        sys.exit(f"Not so: {what}")


def check_selectors(manifests, deployment, container):
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    service = manifests["service.yaml"]["spec"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        service["selector"],
        manifests["disruption.yaml"]["spec"]["selector"]["matchLabels"],
        manifests["network.yaml"]["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]),
    ]
    expect(all(selector == labels for selector in selectors), "every selector means the servers' pods")
    ports = {port["name"] for port in container["ports"]}
    named = {service["ports"][0]["targetPort"], manifests["network.yaml"]["spec"]["ingress"][0]["ports"][0]["port"]}
    named |= {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ["startup", "liveness", "readiness"]}
    expect(named == ports, "every port that is named is the container's")


def environment_of(container, database):
    """Variables of a pod in the namespace "some"."""
    environment = {}
    for each in container["env"]:
        source = each.get("valueFrom", {})
        value = "some" if "fieldRef" in source else database if source else each["value"]
        environment[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], value)
    return environment


def check_settings(container, environment):
    """Checks that the program accepts flags and variables, and returns its settings."""
    command = [PROGRAM, "config", *container["args"][1:]]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True)
    expect(shown.returncode == 0, f"the program takes its arguments: {shown.stderr}")
    rows = [re.split(r" {2,}", line) for line in shown.stdout.splitlines()[1:]]
    for name in environment.keys() - {"POD_NAMESPACE", KEY_FILE}:
        read = any(row[-1].endswith(f"environment variable {name}") for row in rows)
        expect(read, f"the program reads {name}")
    return {row[0]: row[1] for row in rows}


def check_stop(pod, container, settings):
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    stop = int(settings["shutdown-timeout"].removesuffix("s"))
    # After requests: database, traces, log.
    expect(before + stop + 11 < pod["terminationGracePeriodSeconds"], "there is time enough to stop")


def check_key_volume(pod, container):
    """The Secret's volume has the key where the server reads it, readable for the image's user."""
    [mount], [volume] = container["volumeMounts"], pod["volumes"]
    [item] = volume["secret"]["items"]
    at = next(each["value"] for each in container["env"] if each["name"] == KEY_FILE)
    expect(volume["name"] == mount["name"] and mount["readOnly"], "the key's volume is mounted, and read-only")
    expect(f"{mount['mountPath']}/{item['path']}" == at, f"the key is at {at}")
    user = re.search(r"^USER (\d+):(\d+)$", Path("Dockerfile").read_text(), re.M)
    expect(pod["securityContext"]["fsGroup"] == int(user[2]), "the key's group is that of the image's user")
    expect(volume["secret"]["defaultMode"] == 0o440, "only user and group can read the key")


def status(url, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check_refusal(container, environment):
    """Without a key the server does not start, and says what to do."""
    environment = {name: value for name, value in environment.items() if name != KEY_FILE}
    ended = subprocess.run([PROGRAM, *container["args"]], env=environment, capture_output=True, text=True, timeout=60)
    expect(ended.returncode == 1 and "--anonymous" in ended.stderr, f"a server without a key does not start: {ended.stderr}")


def check_probes(container, environment, key):
    """A server with these settings answers each probe without a key, and nothing else."""
    environment = environment | {"TOKEN_MANAGER_LOG": "error"}
    arguments = [re.sub("^--listen=.*", "--listen=0.0.0.0:0", argument) for argument in container["args"]]
    with subprocess.Popen([PROGRAM, *arguments], env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = re.search(r"http://[^ ]*?:(\d+)", server.stdout.readline())
            expect(ready, "the server gets ready")
            url = f"http://127.0.0.1:{ready[1]}"
            for kind in ["startup", "liveness", "readiness"]:
                path = container[f"{kind}Probe"]["httpGet"]["path"]
                expect(status(url + path) == 200, f"the server answers {path}")
            for path in ["/api/pool", "/metrics"]:
                expect(status(url + path) == 401, f"the server does not answer {path} without a key")
                expect(status(url + path, key) == 200, f"the server answers {path} with the key")
        finally:
            server.terminate()
        expect(server.wait(30) == 0, "the server stops when it is told to")


def main():
    manifests = {path.name: read(path.name) for path in MANIFESTS.glob("*.yaml")}
    kustomization = manifests.pop("kustomization.yaml")
    metadata = ["cargo", "metadata", "--no-deps", "--format-version=1", "--offline"]
    packages = json.loads(subprocess.run(metadata, check=True, capture_output=True).stdout)["packages"]
    version = next(package["version"] for package in packages if package["name"] == "token-manager")
    deployment = manifests["deployment.yaml"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]

    check_schemas(manifests)
    check_kustomization(kustomization, version)
    check_selectors(manifests, deployment, container)
    with tempfile.TemporaryDirectory() as folder:
        environment = environment_of(container, f"sqlite:{folder}/pool.db")
        key = subprocess.run([PROGRAM, "keys", "generate"], env={}, check=True, capture_output=True, text=True).stdout
        environment[KEY_FILE] = f"{folder}/bootstrap-key"
        Path(environment[KEY_FILE]).write_text(key)
        settings = check_settings(container, environment)
        listen = f"0.0.0.0:{container['ports'][0]['containerPort']}"
        expect(settings["listen"] == listen, f"it listens on {listen}")
        check_stop(pod, container, settings)
        check_key_volume(pod, container)
        check_refusal(container, environment)
        check_probes(container, environment, key.strip())
    print(f"The manifests are good for Kubernetes {' and '.join(VERSIONS)}, and true of the program.")


main()
