"""Pictures as small files: WebP, no larger than the repository allows."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageChops

#: Where the pictures are kept, and the most that one of them may have.
IMAGES = Path(__file__).parents[1] / "images"
LARGEST = 150_000  # bytes
_QUALITIES = (82, 70, 58, 46)


def save(image: Image.Image, name: str, width: int) -> Path:
    """Write a picture as WebP, no wider than `width` pixels, as good as its size allows.

    Raises
    ------
    ValueError
        Where it is too large at the lowest quality.
    """
    image = image.convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    path = IMAGES / f"{name}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in _QUALITIES:
        encoded = io.BytesIO()
        image.save(encoded, "WEBP", quality=quality, method=6)
        if encoded.tell() <= LARGEST:
            path.write_bytes(encoded.getvalue())
            return path
    raise ValueError(f"the picture {name} takes {encoded.tell()} bytes at the lowest quality: make it narrower")


def without_margin(image: Image.Image, keep: int = 10) -> Image.Image:
    """Return the part of a picture that differs from its upper left pixel, with a few pixels around."""
    image = image.convert("RGB")
    background = Image.new("RGB", image.size, image.getpixel((0, 0)))
    box = ImageChops.difference(image, background).getbbox()
    if box is None:
        return image
    left, top, right, bottom = box
    return image.crop(
        (max(left - keep, 0), max(top - keep, 0), min(right + keep, image.width), min(bottom + keep, image.height))
    )
