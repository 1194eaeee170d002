"""How the lines of a report's charts look, on the page and in its legend."""

from __future__ import annotations

COLOUR_NAMES = ("blue", "orange", "green", "purple", "sky", "amber", "grey")
"""Keys of `plots.COLOURS`, which the page has variables for."""
DASHES = ((), (5, 1.5), (1.5, 1.5), (7, 1.5, 1.5, 1.5))
"""On and off, in points; with seven colours, 28 looks before one comes again."""
