"""Operation of a database server, as library functions."""
