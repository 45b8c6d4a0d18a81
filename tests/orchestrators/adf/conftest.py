"""One service for all tests; each test makes jobs of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

# Elsewhere than in the environment that run makes, these tests are not collected.
INSTALLED = find_spec("data_factory_testing_framework") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]

if INSTALLED:
    from adf.support.entra import AUDIENCE, Entra
    from adf.support.factory import Factory, PipelineRun
    from adf.support.proxy import FlakyProxy
    from adf.support.receiver import Receiver
    from adf.support.service import Service
    from adf.support.templates import pipeline
    from adf.support.vault import KeyVault
    from adf.support.web import Caller


def pytest_report_header() -> str:
    """Says which binary is tested, or that nothing is."""
    return f"binary: {os.environ.get('HAULIER_BIN', 'target/debug/haulier')}" if INSTALLED else "adf: use adf/run"


@pytest.fixture(scope="session")
def entra() -> Iterator[Entra]:
    """Who vouches for the factory."""
    with Entra() as entra:
        yield entra


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, entra: Entra) -> Iterator[Service]:
    """The service under test."""
    service = Service(tmp_path_factory.mktemp("service"), entra.trusted())
    yield service
    service.stop()


@pytest.fixture
def proxy(service: Service) -> Iterator[FlakyProxy]:
    """A proxy before the service that can be told to fail."""
    with FlakyProxy(service.url) as proxy:
        yield proxy


@dataclass
class Azure:
    """A data factory with its Key Vault."""

    service: Service
    vault: KeyVault
    receiver: Receiver
    caller: Caller

    def run(
        self,
        style: str,
        job: str,
        *,
        by: str = "parameter",
        token: str | None = None,
        url: str | None = None,
        wait: str = "0.00:02:00",
        **parameters: Any,
    ) -> PipelineRun:
        """Runs the pipeline of a style, with a token for this job alone. It stops waiting after `wait`."""
        token = token or self.service.make_token(job)
        given = {"serviceUrl": url or self.service.url, "job": job}
        if by == "key-vault":
            self.vault.secrets[job] = token
            given |= {"keyVaultUrl": self.vault.url, "tokenSecretName": job}
        elif by == "managed-identity":
            given["tokenAudience"] = AUDIENCE
        else:
            given["token"] = token
        template = pipeline(style, by)
        if style == "callback":
            # Data Factory takes no expression here, so there is no parameter.
            (hook,) = (each for each in template["properties"]["activities"] if each["type"] == "WebHook")
            hook["typeProperties"]["timeout"] = wait
        else:
            given["waitTimeout"] = wait
        return Factory(self.caller).run(template, {**given, **parameters})


@pytest.fixture
def azure(service: Service, entra: Entra) -> Iterator[Azure]:
    """A data factory that reaches the service."""
    with (
        KeyVault() as vault,
        Receiver() as receiver,
        httpx.Client(follow_redirects=False, trust_env=False) as http,
    ):
        yield Azure(service, vault, receiver, Caller(http, receiver, entra.token))
