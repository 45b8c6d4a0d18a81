"""Runs the Data Factory templates against a real service, as Data Factory would."""
