"""Styles of the lines in a report's charts and in the page's legend."""

from __future__ import annotations

COLOUR_NAMES = ("blue", "orange", "green", "purple", "sky", "amber", "grey")
"""Keys of `plots.COLOURS`, which the page has variables for."""
DASHES = ((), (5, 1.5), (1.5, 1.5), (7, 1.5, 1.5, 1.5))
"""On and off, in points; with seven colours, 28 looks before one comes again."""
