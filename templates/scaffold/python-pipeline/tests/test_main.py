"""Tests that need no service: `python -m unittest discover tests`."""

import json
import pathlib
import tempfile
import unittest

import example_source
import main


class Load(unittest.TestCase):
    """What is loaded."""

    def test_all_pages_come_into_the_lake(self):
        """Every order once."""
        with tempfile.TemporaryDirectory() as lake, example_source.serve() as url:
            loaded = main.load(url, lake)
            files = pathlib.Path(lake).rglob("*.jsonl")
            ids = [json.loads(line)["id"] for file in files for line in file.read_text().splitlines()]
        self.assertEqual(loaded.rows, len(example_source.ORDERS))
        self.assertEqual(sorted(ids), [order["id"] for order in example_source.ORDERS])
