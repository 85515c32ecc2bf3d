"""Simulated experiments, seeded: what the statistics promise, counted.

`make simulate-stats` runs all of them in full and prints each gate; the test suite runs a short form.
"""
