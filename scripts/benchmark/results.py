"""Results of the last runs, which the document's tables and charts are made from."""

import json
import os
import platform
import re
from datetime import date
from pathlib import Path


class Results:
    """A file of JSON with a section for each part of the document. Each run replaces what it measures."""

    def __init__(self, path):
        self.path = Path(path)
        self.data = json.loads(self.path.read_text()) if self.path.exists() else {}

    def keep(self, value, *keys):
        """Stores a value under its keys, and writes the file: a run that is stopped keeps what it has."""
        place = self.data
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value
        self.data["machine"] = machine()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self.path.with_suffix(".new")
        written.write_text(json.dumps(self.data, indent=1) + "\n")
        written.replace(self.path)


def machine():
    """Facts of the machine that the figures depend on."""
    models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="([^"]+)"', Path("/etc/os-release").read_text())
    return {
        "date": date.today().isoformat(),
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": system[1] if system else platform.platform(),
    }
