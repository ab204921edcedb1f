"""Connections: the pool, transactions, the tenant scope, and the verbs that all of them share."""
