"""Stored rollouts of any format, as `mine`, `analyze` and `audit` read them. Imports no torch."""
