"""Connections: the pool, transactions, the tenant scope, and the methods that they share."""
