"""The charts: one function each, from figures to a drawing."""
