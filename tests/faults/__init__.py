"""What is done to the database, the library and the commands on purpose, and what is lost by it.

`python -m tests.faults` runs it all; one module for each scenario.
"""
