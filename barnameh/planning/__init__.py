"""Rosters and production plans: proposed by an optimizer, explained, judged by an independent checker, applied as a second step."""
