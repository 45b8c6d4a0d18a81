"""Tests that need no service: `python -m unittest discover tests`."""

import unittest

import main


class Records(unittest.TestCase):
    """What is loaded."""

    def test_it_goes_on_after_the_last_record(self):
        """No record twice, none left out."""
        self.assertEqual(main.records(since=5, count=2), [{"id": 6}, {"id": 7}])

    def test_nothing_new_is_no_record(self):
        """An empty load is a load."""
        self.assertEqual(main.records(since=5, count=0), [])
