"""Private servers for a machine without Docker: PostgreSQL out of a wheel, Redis from the path or a wheel."""
