"""What is drawn without matplotlib lies where it should."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lcframework.report.plots.canvas import Canvas, nice_ticks, phases_of, powers_of_ten


def pixels(canvas, tmp_path):
    canvas.save(tmp_path / "drawn.png", "png")
    with Image.open(tmp_path / "drawn.png") as image:
        return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    ("limits", "most", "expected"),
    [
        ((-0.5, 1199.5), 8, [0, 200, 400, 600, 800, 1000]),
        ((0, 7), 4, [0, 2, 4, 6]),
        ((0, 1), 4, [0, 1]),
        ((0, 183), 4, [0, 50, 100, 150]),
        ((0, 9999), 8, [0, 2000, 4000, 6000, 8000]),
    ],
)
def test_ticks_are_round_and_few(limits, most, expected):
    assert nice_ticks(*limits, most) == expected


def test_powers_of_ten():
    assert powers_of_ten(-3.2, 2.1, 4) == ([-3.0, -1.0, 1.0], ["10⁻³", "10⁻¹", "10¹"])
    assert powers_of_ten(0.2, 0.8) == ([], [])


def test_phases_of_a_loss_end_where_it_rises():
    loss = np.array([9.0, 4.0, 3.0, 7.0, 5.0, np.nan, 2.0])
    phases = [(steps.tolist(), excess.tolist()) for steps, excess in phases_of(loss)]
    assert [steps for steps, _ in phases] == [[0, 1, 2], [3, 4], [5, 6]]
    np.testing.assert_array_equal([e for _, values in phases for e in values], [6, 1, np.nan, 2, np.nan, 7, np.nan])
    assert list(phases_of(np.array([np.nan, 3.0]))) == []


def test_sources_are_ringed_where_their_pixels_are(tmp_path):
    canvas = Canvas(2.0, 1.5)
    image = np.full((20, 30, 3), 255, np.uint8)
    image[20 - 1 - 12, 7] = 0  # the frame's pixel x = 7, y = 12; the first row is uppermost
    place = (0.3, 0.2, 1.5, 1.0)
    canvas.picture(image, *place)
    axes = canvas.axes(place, (-0.5, 29.5), (-0.5, 19.5))
    black = np.argwhere(pixels(canvas, tmp_path)[:105, 40:].sum(axis=2) == 0).mean(axis=0) + np.array([0, 40])
    canvas.rings(*axes.at(np.array([7.0]), np.array([12.0])), 4.0, "#ff0000")
    drawn = pixels(canvas, tmp_path)
    red = np.argwhere((drawn[..., 0] > 200) & (drawn[..., 1] < 100)).mean(axis=0)
    np.testing.assert_allclose(red, black, atol=0.8)


def test_a_curve_goes_through_its_points_and_breaks_at_nan(tmp_path):
    canvas = Canvas(3.0, 2.0)
    axes = canvas.axes((0.5, 0.5, 2.0, 1.0), (0, 10), (0, 10))
    canvas.curve(axes, np.arange(11), np.where(np.arange(11) == 5, np.nan, 4.0), "#ff0000")
    drawn = pixels(canvas, tmp_path)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 120)
    rows, columns = np.nonzero(red)
    row = canvas.pixel(0, 0.5 + 0.4)[1]
    assert np.abs(rows - row).max() <= 2
    left, right = (canvas.pixel(float(axes.at(x, 0)[0]), 0)[0] for x in (4.0, 6.0))
    assert not ((columns > left + 2) & (columns < right - 2)).any()
    assert columns.min() < canvas.pixel(0.5, 0)[0] + 3
