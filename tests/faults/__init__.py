"""Deliberate faults of the database, the library and the commands, and the resulting losses.

`python -m tests.faults` runs all of them; one module per scenario.
"""
