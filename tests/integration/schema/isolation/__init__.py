"""Attacks on the isolation of tenants, and what notices when one gets through.

Everything is enumerated from the catalog of the database under attack: a new table, column, key or function is attacked
without a line here.
"""
