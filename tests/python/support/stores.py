"""Blob stores on this machine: Azurite, Azure's own emulator, and moto's S3."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ACCOUNT = "devstoreaccount1"
# Azurite's well-known key, the same everywhere.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PATIENCE = 60.0


class Server:
    """A process that says where it listens."""

    def __init__(self, command: list[str], log: Path, pattern: str) -> None:
        """Starts it, and waits until it has said so."""
        with log.open("w") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, log.read_text())):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"{command[0]} does not come up: {log.read_text()}"
            time.sleep(0.05)
        self.port = int(found[1])

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(30)


class Azurite(Server):
    """Azure's blob store, reachable on all addresses of this machine."""

    def __init__(self, directory: Path) -> None:
        """Starts it, empty."""
        home, node = os.environ.get("HAULIER_TEST_AZURITE"), shutil.which("node")
        assert home, "there is no Azurite: use tests/python/run, which installs it"
        assert node, "there is no Node: use tests/python/run, which installs it"
        program = Path(home, "node_modules", "azurite", "dist", "src", "blob", "main.js")
        options = [
            "--blobHost",
            "0.0.0.0",
            "--blobPort",
            "0",
            "--location",
            str(directory / "data"),
            "--skipApiVersionCheck",
        ]
        # Else it waits at its end for a place on the Internet.
        options += ["--disableTelemetry", "--disableProductStyleUrl"]
        super().__init__([node, str(program), *options], directory / "azurite.log", r"listens on http://[0-9.]+:(\d+)")

    def connection_string(self, host: str = "127.0.0.1") -> str:
        """How programs on that side of the network find it."""
        endpoint = f"http://{host}:{self.port}/{ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"


class S3(Server):
    """S3, by moto."""

    def __init__(self, directory: Path) -> None:
        """Starts it, empty."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        super().__init__(command, directory / "moto.log", r"Running on http://127\.0\.0\.1:(\d+)")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"
