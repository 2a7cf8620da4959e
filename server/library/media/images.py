"""Pixels to a thumbnail, by Pillow. Runs only inside the bounded helper.

Whatever the size of the image, memory is bounded before a pixel is decoded: by the header's dimensions
against the helper's limit, and by JPEG's own reduced decoding.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from PIL import Image, ImageFile, ImageOps

from server.disk.speech import say

from . import exif

# Named, so that a file can't choose a decoder that starts other programs (EPS, PDF) or is little kept.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "TGA", "PSD", "PPM", "DDS", "JPEG2000", "AVIF", "MPO")
EDGE = 65_535  # pixels
JPEG_QUALITY = 82
PIXEL_BYTES = 8  # while it is decoded and turned round

Image.MAX_IMAGE_PIXELS = None  # checked here, against the memory that there is
ImageFile.LOAD_TRUNCATED_IMAGES = False


class TooBig(Exception):
    """The image would take more memory than a thumbnail is worth."""


def facts(source: BinaryIO) -> dict[str, Any]:
    """Facts of an open image, as `exif.of_image` has them; no pixel is decoded."""
    with Image.open(source, formats=FORMATS) as image:
        found = exif.of_image(image)
    source.seek(0)
    return found


def thumbnail(source: BinaryIO, width: int, memory_bytes: int) -> tuple[bytes, str, tuple[int, int]]:
    """An image that fits `width` x `width`: its bytes, `png` (transparency) or `jpg`, the original's size.

    `source` is an open file. Raises TooBig and whatever Pillow raises on a damaged file.
    """
    with Image.open(source, formats=FORMATS) as image:
        original = image.size
        if image.format == "JPEG":
            image.draft("RGB", (width * 2, width * 2))  # decodes an eighth, a quarter or half of it
        pixels = image.size[0] * image.size[1]
        if max(original) > EDGE or pixels * PIXEL_BYTES > memory_bytes:
            raise TooBig(say("{original} x {original2} pixels", original=original[0], original2=original[1]))
        image.load()
        small = _eight_bits(image)
        small.thumbnail((width, width), Image.Resampling.LANCZOS, reducing_gap=2.0)
        small = ImageOps.exif_transpose(small)
        return (*encoded(small), original)


def square(source: BinaryIO, edge: int, memory_bytes: int) -> bytes:
    """The middle of a picture as a square JPEG of at most `edge` pixels, without anything else that the file
    told (where it was taken, by which camera). Raises as `thumbnail` does."""
    with Image.open(source, formats=FORMATS) as image:
        if image.format == "JPEG":
            image.draft("RGB", (edge * 2, edge * 2))
        if max(image.size) > EDGE or image.size[0] * image.size[1] * PIXEL_BYTES > memory_bytes:
            raise TooBig(say("{size} x {size2} pixels", size=image.size[0], size2=image.size[1]))
        image.load()
        small = ImageOps.exif_transpose(_eight_bits(image))
    paper = Image.new("RGB", small.size, "white")
    paper.paste(small, mask=small.getchannel("A") if small.mode == "RGBA" else None)
    side = min(edge, *paper.size)
    out = io.BytesIO()
    ImageOps.fit(paper, (side, side), Image.Resampling.LANCZOS).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def from_rows(width: int, height: int, rgba: bytes, edge: int) -> tuple[bytes, str, tuple[int, int]]:
    """The same of raw RGBA rows from the bottom up, as a .blend's preview has them."""
    image = Image.frombytes("RGBA", (width, height), rgba).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return (*encoded(image), (width, height))


def encoded(image: Image.Image) -> tuple[bytes, str]:
    """PNG where a pixel is transparent, else JPEG."""
    out = io.BytesIO()
    if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] != 255:
        image.save(out, "PNG", optimize=False, compress_level=6)
        return out.getvalue(), "png"
    image.convert("RGB").save(out, "JPEG", quality=JPEG_QUALITY, progressive=False)
    return out.getvalue(), "jpg"


def _eight_bits(image: Image.Image) -> Image.Image:
    """RGB or RGBA of any mode: palettes, 16 and 32 bits a channel, CMYK."""
    if image.mode in ("RGB", "RGBA"):
        return image
    if image.mode.startswith("I"):  # 16 bits of grey in 32
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.mode == "F":
        return image.point(lambda value: value * 255).convert("L").convert("RGB")
    transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")
