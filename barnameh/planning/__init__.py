"""Rosters and production plans: proposed by an optimizer, explained, checked independently, then applied."""
