"""Worked examples; run one with `python -m examples.NAME`."""
