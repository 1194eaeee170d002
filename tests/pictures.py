"""Pictures made on the spot."""

from __future__ import annotations

import io


def picture(colour: int = 0, size: tuple[int, int] = (4, 3)) -> bytes:
    """The PNG of an area of one shade of red."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()
