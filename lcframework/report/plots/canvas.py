"""Drawing of pictures with Pillow, for plots of every frame: matplotlib would take longer than the fits themselves.

Positions are in inches from the lower left corner, sizes of text in points, as in matplotlib.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lcframework.types import Bools, Floats, Ints

#: Colours in the order of use; colour-blind readers can distinguish them (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a51a3", "#000000")
DPI = 110
INK = "#22262d"
_AXIS = "#5c6370"
_QUALITY = 88
_FINE = 4  # curves are drawn with this many small pixels per pixel, and averaged
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@functools.cache
def _font(points: float, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"  # it comes with matplotlib
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), points * DPI / 72, layout_engine=ImageFont.Layout.BASIC)


class Canvas:
    """A white picture of a size in inches, with a title at its upper left."""

    def __init__(self, width: float, height: float, title: str = "") -> None:
        self._height = height
        self._image = Image.new("RGB", (round(width * DPI), round(height * DPI)), "white")
        self._pen = ImageDraw.Draw(self._image)
        if title:
            self.text(0.08, height - 0.06, title, "la", 9.5, bold=True)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Return the column and row, from above, of a point."""
        return x * DPI, (self._height - y) * DPI

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "ls",
        size: float = 8.0,
        colour: str = INK,
        bold: bool = False,
    ) -> None:
        """Write text; `anchor` as in Pillow: l, m or r (horizontal), then a (top), m or s (baseline)."""
        align = {"l": "left", "m": "center", "r": "right"}[anchor[0]]
        if "\n" in text and anchor[1] == "s":
            anchor = anchor[0] + "d"
        self._pen.text(self.pixel(x, y), text, colour, _font(size, bold), anchor=anchor, align=align, spacing=2)

    def text_upright(self, x: float, y: float, text: str, size: float = 8.0) -> None:
        """Write text upwards, centred at a point."""
        left, top, right, bottom = _font(size, False).getbbox(text)
        label = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2), 0)
        ImageDraw.Draw(label).text((1 - left, 1 - top), text, 255, _font(size, False))
        label = label.transpose(Image.Transpose.ROTATE_90)
        column, row = self.pixel(x, y)
        self._image.paste(INK, (round(column - label.width / 2), round(row - label.height / 2)), label)

    def picture(self, rgb: Floats, left: float, bottom: float, width: float, height: float) -> None:
        """Put a coloured image (ny, nx, 3), uint8, first row uppermost."""
        column, row = self.pixel(left, bottom + height)
        size = round(width * DPI), round(height * DPI)
        scaled = Image.fromarray(np.ascontiguousarray(rgb, np.uint8)).resize(size, Image.Resampling.NEAREST)
        self._image.paste(scaled, (round(column), round(row)))

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 0.8) -> None:
        """Draw a line through points; `width` in typographic points."""
        self._pen.line([self.pixel(*p) for p in points], colour, max(1, round(width * DPI / 72)))

    def rings(self, x: Floats, y: Floats, radius: float, colour: str, width: float = 0.8) -> None:
        """Draw circles; radius and width in points."""
        mask = _ring(radius * DPI / 72, width * DPI / 72)
        half = mask.width // 2
        for point in zip(x.tolist(), y.tolist(), strict=True):
            column, row = self.pixel(*point)
            self._image.paste(colour, (round(column) - half, round(row) - half), mask)

    def axes(self, box: tuple[float, float, float, float], x: tuple[float, float], y: tuple[float, float]) -> Axes:
        """Return axes at (left, bottom, width, height) with these limits."""
        return Axes(self, box, x, y)

    def bars(self, axes: Axes, edges: Floats, heights: Floats | Ints, colour: str) -> None:
        """Draw a histogram."""
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            if height > 0:
                (u, v), (w, x) = ((float(c) for c in axes.at(*p)) for p in ((left, axes.y[0]), (right, height)))
                (first, low), (last, high) = self.pixel(u, v), self.pixel(w, x)
                self._pen.rectangle([round(first), round(high), max(round(first), round(last) - 1), round(low)], colour)

    def curve(self, axes: Axes, x: Floats | Ints, y: Floats, colour: str, width: float = 1.2) -> None:
        """Draw a smooth line within axes; it is broken where a value is nan."""
        left, bottom, wide, high = axes.box
        (column, row), (columns, rows) = self.pixel(left, bottom + high), (round(wide * DPI), round(high * DPI))
        mask = Image.new("L", (columns * _FINE, rows * _FINE), 0)
        pen, thick = ImageDraw.Draw(mask), max(1, round(width * DPI / 72 * _FINE))
        u, v = (np.asarray(x) - axes.x[0]) / np.ptp(axes.x), (np.asarray(y) - axes.y[0]) / np.ptp(axes.y)
        for part in _unbroken(np.isfinite(u) & np.isfinite(v)):
            points = np.stack([u[part] * mask.width, (1 - v[part]) * mask.height], axis=1).ravel().tolist()
            if len(points) == 2:
                pen.ellipse([c + s * thick for s in (-1, 1) for c in points], 255)
            pen.line(points, 255, thick, joint="curve")
        self._image.paste(colour, (round(column), round(row)), mask.reduce(_FINE))

    def save(self, path: Path, kind: str) -> None:
        """Write the picture."""
        self._image.save(path, format="JPEG" if kind in ("jpg", "jpeg") else kind, quality=_QUALITY)


class Axes:
    """A rectangle with coordinates: a spine and ticks at its left and below."""

    def __init__(
        self, canvas: Canvas, box: tuple[float, float, float, float], x: tuple[float, float], y: tuple[float, float]
    ) -> None:
        self._canvas, self.box, self.x, self.y = canvas, box, x, y
        left, bottom, width, height = box
        canvas.line([(left, bottom + height), (left, bottom), (left + width, bottom)], _AXIS, 0.7)

    def at(self, x: Floats | float, y: Floats | float) -> tuple[Floats, Floats]:
        """Return points from coordinates."""
        left, bottom, width, height = self.box
        return (
            np.asarray(left + (np.asarray(x) - self.x[0]) / (self.x[1] - self.x[0]) * width),
            np.asarray(bottom + (np.asarray(y) - self.y[0]) / (self.y[1] - self.y[0]) * height),
        )

    def ticks(self, values: Sequence[float], labels: Sequence[str], upright: bool) -> None:
        """Mark values below, or, where `upright`, at the left."""
        left, bottom, _, _ = self.box
        for value, label in zip(values, labels, strict=True):
            x, y = (float(v) for v in self.at(*((self.x[0], value) if upright else (value, self.y[0]))))
            if upright:
                self._canvas.line([(x - 0.04, y), (x, y)], _AXIS, 0.7)
                self._canvas.text(left - 0.07, y, label, "rm", 7.5)
            else:
                self._canvas.line([(x, y - 0.04), (x, y)], _AXIS, 0.7)
                self._canvas.text(x, bottom - 0.06, label, "ma", 7.5)


def nice_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return at most `most` round numbers within limits; steps are whole: 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-12)
    power = 10.0 ** np.floor(np.log10(span))
    steps = [m * power * f for f in (0.1, 1.0) for m in (1, 2, 5)]
    step = next((s for s in steps if s >= 1 and span / s <= most), 10 * power)
    return [float(step * k) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def powers_of_ten(low: float, high: float, most: int = 4) -> tuple[list[float], list[str]]:
    """Return at most `most` whole exponents of ten within limits, and their labels."""
    first, last = int(np.ceil(low)), int(np.floor(high))
    step = max(1, -(-(last - first + 1) // most))
    exponents = list(range(first, last + 1, step))
    return [float(e) for e in exponents], ["10" + str(e).translate(_SUPERSCRIPTS) for e in exponents]


@functools.cache
def _ring(radius: float, width: float) -> Image.Image:
    half = int(np.ceil(radius + width)) + 1
    grid = np.arange(-half, half + 1)
    distance = np.abs(np.hypot(grid[:, None], grid) - radius)
    cover = np.clip(0.5 + (width / 2 - distance), 0, 1)
    return Image.fromarray(np.round(255 * cover).astype(np.uint8))


def _unbroken(good: Bools) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return [slice(a, b) for a, b in edges.reshape(-1, 2)]


def phases_of(loss: Floats) -> Iterator[tuple[Ints, Floats]]:
    """Yield for each phase of a fit the iterations, and the loss minus its value at the end (nan where not positive).

    A new phase begins where the loss rises: weights or free parameters have changed, and values before and after can't
    be compared.
    """
    finite = np.isfinite(loss)
    if finite.sum() < 2:
        return
    loss = np.where(finite, loss, np.nanmax(loss[finite]))
    starts = [0, *(np.flatnonzero(np.diff(loss) > 1e-9 * np.abs(loss[1:])) + 1).tolist(), len(loss)]
    for a, b in pairwise(starts):
        excess = loss[a:b] - loss[b - 1]
        if (excess > 0).any():
            yield np.arange(a, b), np.where(excess > 0, excess, np.nan)
