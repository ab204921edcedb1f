"""Attacks on the isolation of tenants, and the detection of successful ones.

Everything is enumerated from the catalog of the attacked database: new tables, columns, keys and functions need
no line here.
"""
