"""The pictures: one function each, from figures to a drawing."""
