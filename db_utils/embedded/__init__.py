"""Private servers for machines without Docker: PostgreSQL from a wheel, Redis from PATH or a wheel."""
