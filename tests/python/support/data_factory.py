"""Runs the poll template once, in the environment that the Data Factory tests have made, and prints how it ended."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import httpx
from adf.support.factory import Factory
from adf.support.receiver import Receiver
from adf.support.templates import pipeline
from adf.support.web import Caller

with Receiver() as receiver, httpx.Client(follow_redirects=False, trust_env=False) as http:
    run = Factory(Caller(http, receiver)).run(pipeline("poll"), {**json.load(sys.stdin), "waitTimeout": "0.00:02:00"})
print(json.dumps(asdict(run), default=str))
