"""What a new developer does, with nothing left out: from an empty folder to a job that orchestrators run."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from support.api import Api, Seen, make_records
from support.haulier import Airflow, Developer, Service, docker, docker_gateway, run_by_data_factory
from support.stores import Azurite

BASE = os.environ.get("HAULIER_TEST_PYTHON_BASE")
NEEDED = {
    "a Python base image: tests/support/infra makes it": BASE,
    "Docker: tests/support/infra starts it": os.environ.get("HAULIER_TEST_DOCKER_HOST"),
    "Airflow: tests/orchestrators/run installs it": Path(
        os.environ.get("HAULIER_TEST_ENVIRONMENTS", ""), "airflow-3"
    ).exists(),
    "Data Factory's expressions: tests/orchestrators/adf/run installs them": Path(
        os.environ.get("HAULIER_TEST_ENVIRONMENTS", ""), "adf"
    ).exists(),
}
MISSING = [what for what, is_there in NEEDED.items() if not is_there]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"there is no {'; no '.join(MISSING)}")


@pytest.fixture
def azurite(tmp_path: Path) -> Iterator[Azurite]:
    """A blob store that containers reach."""
    azurite = Azurite(tmp_path)
    yield azurite
    azurite.stop()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service on Docker."""
    service = Service(tmp_path)
    yield service
    service.stop()


def edit(path: Path, **values: str) -> None:
    """Sets variables in haulier.yaml, as in an editor."""
    text = path.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"^(  {name}: ).*$", rf"\g<1>{value}", text, flags=re.MULTILINE)
        assert count == 1, f"{path} has no {name}"
    path.write_text(text)


def test_a_new_developer(
    tmp_path: Path, api: Api, azurite: Azurite, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    host = docker_gateway()
    api.records = make_records(range(25))
    api.check = lambda seen: seen.headers.get("authorization") == "Bearer t0ken-of-the-source"
    blobs = fsspec.filesystem("abfs", connection_string=azurite.connection_string(), skip_instance_cache=True)
    blobs.mkdir("raw")

    def lake() -> list[int]:
        """What a reader finds in the blob store."""
        blobs.invalidate_cache()
        paths = [path for path in blobs.find("raw") if "/_haulier/" not in path]
        return sorted(json.loads(line)["id"] for p in paths for line in gzip.decompress(blobs.cat_file(p)).splitlines())

    # From nothing to the first run in production.
    begin = time.monotonic()
    developer = Developer(tmp_path, service)
    assert BASE is not None
    developer.types("init", "orders", "--template", "python-pipeline", "--base-image", BASE)
    project = tmp_path / "orders"
    developer.directory = project
    edit(project / "haulier.yaml", SOURCE_URL=f"http://{host}:{api.port}")
    (project / ".haulier").mkdir(exist_ok=True)
    storage = azurite.connection_string(host)
    secrets = f"API_TOKEN=t0ken-of-the-source\nAZURE_STORAGE_CONNECTION_STRING={storage}\n"
    (project / ".haulier" / "secrets.env").write_text(secrets)

    said = developer.types("dev", "--param", "lake=.haulier/lake")
    assert "25" in said
    assert lake() == []
    after_dev = time.monotonic()
    registry = os.environ["HAULIER_TEST_REGISTRY"]
    said = developer.types("deploy", "--send-secrets", "--run", "--registry", registry, "--network", "host")
    seconds = time.monotonic() - begin
    assert lake() == list(range(25))
    with capsys.disabled():
        print(
            f"\nfrom init to the first finished run: {len(developer.typed) - 1} commands after init, {seconds:.0f} s "
            f"({after_dev - begin:.0f} s of them until dev had run)"
        )
        for command in developer.typed:
            print(f"  $ {command}")
    run = service.last_run("orders")
    assert run["output"]["rows"] == run["metrics"]["rows"] == 25

    # Deploying the same again changes nothing.
    revision = service.ask("GET", "/jobs/orders")["revision"]
    developer.types("deploy", "--registry", registry, "--network", "host", counts=False)
    assert service.ask("GET", "/jobs/orders")["revision"] == revision

    # Data Factory starts it: only the delta comes.
    api.records += make_records(range(25, 31))
    factory = run_by_data_factory(service, "orders")
    assert factory["status"] == "Succeeded", factory
    assert factory["return_value"]["output"]["rows"] == 6
    assert lake() == list(range(31))

    # Airflow starts it.
    airflow = Airflow(tmp_path / "airflow", service, "orders")
    api.records += make_records(range(31, 45))
    ended = airflow.test()
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert service.last_run("orders")["output"]["rows"] == 14
    assert lake() == list(range(45))

    # The source fails halfway: nothing of it is there, and nobody takes it for done.
    api.records += make_records(range(45, 80))
    state = service.ask("GET", "/jobs/orders/state")
    api.troubles.extend([0, 0, 403])
    factory = run_by_data_factory(service, "orders")
    assert factory["status"] == "Failed"
    assert "answers 403" in factory["failure"]["message"]
    assert lake() == list(range(45))
    assert service.ask("GET", "/jobs/orders/state") == state
    # The container is killed halfway: the same. And what was not loaded then is loaded the next time, once.
    is_right, pages = api.check, itertools.count(1)

    def killing(seen: Seen) -> bool:
        if next(pages) == 3:
            docker("kill", docker("ps", "-q", "--filter", f"label=haulier.run={service.last_run('orders')['id']}"))
        return is_right(seen)

    api.check = killing
    said = developer.types("run", "orders", "--wait", succeeds=False, counts=False)
    api.check = is_right
    assert "signal 9" in said
    assert lake() == list(range(45))
    developer.types("run", "orders", "--wait", counts=False)
    assert lake() == list(range(80))
    assert service.last_run("orders")["output"]["rows"] == 35

    # A mistake in the script reads well wherever one looks.
    script = project / "main.py"
    script.write_text(script.read_text().replace("    loaded = load(", '    {}["custmer"]\n    loaded = load('))
    said = developer.types("deploy", "--run", "--registry", registry, "--network", "host", succeeds=False, counts=False)
    message = "KeyError: 'custmer' (exit code 1)"
    assert message in said
    assert 'File "/app/main.py"' in said
    error = service.last_run("orders")["error"]
    assert (error["code"], error["message"], error["reported_code"]) == ("exit_code", message, "key_error")
    failure = run_by_data_factory(service, "orders")["failure"]
    assert failure["errorCode"] == "exit_code"
    assert failure["message"].startswith(message)
    said = airflow.test().stdout
    assert message in said
    assert 'File "/app/main.py"' in said
    log = developer.types("logs", service.last_run("orders")["id"], counts=False)
    assert log.rstrip().endswith("KeyError: 'custmer'")
    assert "t0ken-of-the-source" not in log
    assert lake() == list(range(80))
