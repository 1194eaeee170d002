"""What the methods' authors compute: inputs and results, see README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_reference(name: str) -> dict[str, Any]:
    """`about`, `inputs` (where they are one for all results) and `results`."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
