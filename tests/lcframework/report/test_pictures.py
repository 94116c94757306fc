"""Pictures show what is in the files: epochs, stacks, colours, charts, the PSF over the field."""

from __future__ import annotations

import base64
import io
import json
import re

import attrs
import numpy as np
import pytest
from PIL import Image

from lcframework.report import draw, write_report
from lcframework.report.pictures import epochs as pictures
from lcframework.report.pictures.colour import colour_picture, three_bands, wavelength
from lcframework.report.pictures.stacks import Stacks, point_sources, quarter_turns, stacks
from lcframework.report.plots import finding_chart, psf_field, roi_model
from lcframework.report.plots.finding_chart import Chart, ChartStar, Payload
from lcframework.roi.cutout_files import FOLDER, FitFile, PreparedEpochs, read_cutouts, stem
from lcframework.testing.regions import Galaxy, Sky, moffat_kernel, simulate
from lcframework.types import PSF, FitState, FitStatus, HighResolution, RoiFit


def fitted(cutouts, points, truth, band="r", zeropoint=25.0):
    """Return the epochs of a simulated region, and a fit that is their truth."""
    e, k = truth.flux.shape
    n = cutouts.data.shape[1]
    fit = RoiFit(
        truth.flux, np.tile(np.eye(k), (e, 1, 1)), np.tile(np.eye(k), (e, 1, 1)), points.offset, np.eye(2 * k),
        truth.shift, HighResolution(np.zeros((n, n)), np.zeros((n, n)), np.ones((2, 3))), truth.noiseless,
        np.zeros(cutouts.mask.shape, bool), np.ones(e), FitStatus(FitState.CONVERGED),
    )  # fmt: skip
    epochs = PreparedEpochs(cutouts, {}, truth.shift, [""] * e, zeropoint, 0.01, "AB")
    return epochs, FitFile("cam", band, list(points.names), fit, {}, zeropoint, 0.01, "AB")


def double(e=5, **changes):
    level = 1 + 0.2 * np.sin(np.arange(e))
    sky = Sky(
        np.array([[0.5, 0.3], [-0.6, -0.2]]), np.outer(level, [300.0, 120.0]), (Galaxy(200.0),),
        np.linspace(0.8, 1.2, e), stamp=24, kernel=40, **changes,
    )  # fmt: skip
    return simulate(sky, 4)


def test_an_epochs_picture_is_its_data_its_model_and_their_difference():
    cutouts, points, truth = double()
    mask = cutouts.mask.copy()
    mask[2, 3, 4] = True
    cutouts = attrs.evolve(cutouts, mask=mask)
    epochs, content = fitted(cutouts, points, truth)
    stretch = pictures.Stretch.of(cutouts.data, cutouts.noise, cutouts.mask)
    strips = pictures.strips(epochs, content, stretch)
    n = cutouts.data.shape[1]
    # As a browser sees them: PNGs, of at most two epochs here, each with its upper rows first.
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2])))) for s in pictures.sprites(strips, 2)
    ]
    assert [len(i) // n for i in images] == [2, 2, 1]
    shown = np.concatenate(images).reshape(5, n, 3 * n)[:, ::-1]
    np.testing.assert_array_equal(shown, strips)
    assert (shown[2, 3, 4], shown[2, 3, 2 * n + 4]) == (pictures.HIDDEN, pictures.HIDDEN)
    good = ~mask
    sigma = (cutouts.data - truth.noiseless) / cutouts.noise
    residual = pictures.residual_values(shown[:, :, 2 * n :])
    step = 2 * pictures.LIMIT / (pictures.RESIDUALS - 1)
    assert np.abs(residual - np.clip(sigma, -5, 5))[good].max() <= step / 2 + 1e-9
    # A level of intensity is a step of arcsinh: less than the noise at the bottom, per cents of the value at the top.
    for part, values in ((shown[:, :, :n], cutouts.data), (shown[:, :, n : 2 * n], truth.noiseless)):
        inside = good & (values > stretch.low) & (values < stretch.high)
        decoded = stretch.values(part)[inside]
        assert np.abs(np.arcsinh(decoded / stretch.soft) - np.arcsinh(values[inside] / stretch.soft)).max() < 0.03


def test_a_noisy_epoch_takes_little_room():
    rng = np.random.default_rng(1)
    residual = pictures.residual_levels(rng.normal(size=(50, 40, 40)))
    data = pictures.Stretch(3.0, -3.0, 300.0).levels(rng.normal(size=(50, 40, 40)))
    strips = np.concatenate([data, np.zeros_like(data), residual], axis=2)
    assert sum(map(len, pictures.sprites(strips))) < 50 * 3600  # bytes of text for 50 epochs of 40 x 40 pixels


def test_colours_of_levels_are_magma_and_red_and_blue():
    colours = pictures.palette()
    assert colours[0].sum() < 60  # dark
    assert colours[pictures.INTENSITIES - 1].sum() > 600
    below, above = colours[pictures.INTENSITIES], colours[pictures.INTENSITIES + pictures.RESIDUALS - 1]
    assert below[2] > below[0]  # less than the model: blue
    assert above[0] > above[2]
    assert (colours[pictures.INTENSITIES + pictures.RESIDUALS // 2] > 240).all()


def test_a_stack_is_the_mean_of_the_cutouts():
    cutouts, points, truth = double()
    mask = cutouts.mask.copy()
    mask[1, 5, 6] = True
    mask[:, 0, 0] = True
    epochs, content = fitted(attrs.evolve(cutouts, mask=mask), points, truth)
    made = stacks(epochs, content)
    expected = np.nanmean(np.where(mask, np.nan, cutouts.data)[:, 1:], axis=0)
    np.testing.assert_allclose(made.everything[1:], expected, rtol=1e-12)
    assert np.isnan(made.everything[0, 0])


def test_stacks_without_sources_and_without_background_are_the_galaxy_and_the_sources():
    cutouts, points, truth = double()
    clean = attrs.evolve(cutouts, data=truth.noiseless)
    epochs, content = fitted(clean, points, truth)
    made = stacks(epochs, content)
    sources = truth.noiseless - truth.galaxy
    np.testing.assert_allclose(point_sources(epochs, content), sources, atol=1e-3 * sources.max())
    np.testing.assert_allclose(made.without_sources, truth.galaxy.mean(axis=0), atol=1e-3 * sources.max())
    np.testing.assert_allclose(made.without_background, sources.mean(axis=0), atol=1e-3 * sources.max())
    # The data are what is stacked: light that no model has stays in all of them.
    extra = np.zeros_like(truth.noiseless)
    extra[:, 2, 3] = 7.0
    epochs, content = fitted(attrs.evolve(cutouts, data=truth.noiseless + extra), points, truth)
    again = stacks(epochs, content)
    for name in ("everything", "without_sources", "without_background"):
        difference = getattr(again, name) - getattr(made, name)
        np.testing.assert_allclose(difference, extra[0], atol=1e-9)


@pytest.mark.parametrize("turn", range(0, 360, 45))
def test_a_region_of_any_orientation_has_north_and_east_within_its_picture(turn):
    scale, n, angle = 8.0, 48, np.radians(turn)  # pixels an arcsec
    axes = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    transform = np.column_stack([axes, [n / 2, n / 2]])
    epochs, content = fitted(*double())
    high = HighResolution(np.ones((n, n)), np.ones((n, n)), transform)
    content = attrs.evolve(content, fit=attrs.evolve(content.fit, high_resolution=high))
    made = roi_model.draw(epochs, content, "Q")
    [ax] = [a for a in made.axes if a.get_title(loc="left") == "high-resolution model"]
    east, north, bar = (line.get_xydata() for line in ax.lines)
    for line, towards in ((east, axes[:, 0]), (north, axes[:, 1])):
        assert ((line > -0.5) & (line < n - 0.5)).all()
        arm = line[1] - line[0]
        np.testing.assert_allclose(arm / np.hypot(*arm), towards / scale, atol=1e-12)
    assert bar[1, 0] - bar[0, 0] == pytest.approx(scale)  # an arcsec
    texts = {t.get_text(): t for t in ax.texts}
    assert set(texts) == {*content.names, "E", "N", "1″"}
    for name, place in zip(content.names, content.fit.offset, strict=True):
        np.testing.assert_allclose(texts[name].xy, axes @ place + n / 2)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_cutouts_of_a_turned_camera_are_turned_back(turns):
    cutouts, points, truth = double(e=2, dither=0.0)
    straight = stacks(*fitted(cutouts, points, truth))
    n = cutouts.data.shape[1]
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])  # x becomes y
    turn = np.linalg.matrix_power(quarter, turns)
    transform = cutouts.transform.copy()
    middle = (n - 1) / 2
    transform[1, :, :2] = turn @ transform[1, :, :2]
    transform[1, :, 2] = turn @ (transform[1, :, 2] - middle) + middle
    # The same sky, seen by the turned camera: pixel p of the first is pixel turn @ p of the second.
    data = cutouts.data.copy()
    rows, columns = np.indices((n, n)) - middle
    x, y = np.einsum("ij,jab->iab", turn, np.stack([columns, rows])) + middle
    data[1, np.rint(y).astype(int), np.rint(x).astype(int)] = cutouts.data[1]
    turned = attrs.evolve(cutouts, data=data, transform=transform)
    assert quarter_turns(turned.transform) == [0, turns]
    made = stacks(*fitted(turned, points, truth))
    np.testing.assert_allclose(made.everything, straight.everything, rtol=1e-12)
    np.testing.assert_allclose(made.transform, cutouts.transform[0])


def stack_of(image, shift=0.0, noise=1.0):
    transform = np.array([[-5.0, 0.0, 12.0 + shift], [0.0, 5.0, 12.0]])
    return Stacks(image, image, image, transform, noise)


def test_three_bands_are_red_green_and_blue_by_wavelength():
    blank = stack_of(np.zeros((25, 25)))
    chosen = three_bands([(b, blank) for b in ("g", "z_sdss", "r'", "i", "L")], [25.0] * 5)
    assert chosen is not None
    assert [b.band for b in chosen] == ["z_sdss", "r'", "g"]
    assert three_bands([("g", blank), ("r", blank), ("L", blank)], [25.0] * 3) is None
    assert wavelength("V") < wavelength("R") < wavelength("I") < wavelength("Ks")
    # Two stacks in one band: the deeper one counts.
    deep = stack_of(np.ones((25, 25)), noise=0.1)
    chosen = three_bands([("g", blank), ("r", blank), ("i", blank), ("r", deep)], [25.0] * 4)
    assert chosen is not None
    assert chosen[1].stack is deep


def test_equal_flux_densities_are_white_and_what_only_the_red_band_sees_is_red():
    y, x = np.mgrid[:25, :25]

    def star(x0, y0, flux):
        return flux * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8.0)

    # The zero point of the second band is a magnitude fainter: the same star has fewer electrons there. The third is
    # shifted by two pixels, and so is its transform.
    faint = 10**-0.4
    images = [star(8, 12, 100.0) + star(18, 12, 100.0), star(8, 12, 100.0 * faint), star(10, 12, 100.0)]
    stacked = [("i", stack_of(images[0])), ("r", stack_of(images[1])), ("g", stack_of(images[2], shift=2.0))]
    chosen = three_bands(stacked, [25.0, 24.0, 25.0])
    assert chosen is not None
    image = colour_picture(chosen)
    assert image.shape == (25, 25, 3)
    white, red = image[12, 8].astype(int), image[12, 18].astype(int)
    assert white.min() > 200
    assert np.ptp(white) < 12
    assert red[0] > 150
    assert red[1:].max() < 30


def chart_of(stars, sky=(40.0, 25.0)):
    """Return a chart whose camera has north to the right and east up, with one bright pixel at `sky` (east, north)."""
    matrix = np.array([[0.0, 0.5], [0.5, 0.0]])  # arcsec a pixel: x goes north, y goes east
    image = np.zeros((200, 220))
    target = np.array([100.0, 90.0])
    column, row = np.linalg.solve(matrix, np.array(sky)) + target
    image[int(row) - 1 : int(row) + 2, int(column) - 1 : int(column) + 2] = 1e4
    payload = Payload("Q", 150.0, -28.0, tuple(stars), "", "", "frame", 1.0)
    places = np.array([[0.0, 0.0]] * len(stars)).reshape(-1, 2)
    return Chart(image, places + target, target, matrix, 45.0), payload


def test_a_finding_chart_has_north_up_and_east_to_the_left():
    chart, payload = chart_of([])
    made = finding_chart.draw(chart, payload)
    made.canvas.draw()
    grey = np.asarray(made.canvas.buffer_rgba())[:, :, :3].sum(axis=2).astype(int)
    box = made.axes[0].get_window_extent()
    top = grey.shape[0]
    x = int(box.x0 + (0.5 - 40.0 / 90.0) * box.width)
    y = int(top - (box.y0 + (0.5 + 25.0 / 90.0) * box.height))
    assert grey[y, x] < 100  # black where a star 40 arcsec east and 25 north should be
    mirrored = int(box.x0 + (0.5 + 40.0 / 90.0) * box.width)
    assert grey[y, mirrored] > 300
    assert grey[int(top - (box.y0 + (0.5 - 25.0 / 90.0) * box.height)), x] > 300


def test_labels_lie_on_nothing_and_bright_stars_have_theirs_first():
    rng = np.random.default_rng(2)
    places = rng.uniform(-40, 40, (60, 2))
    places[7] = places[3] + 0.1  # a close pair
    stars = [ChartStar(str(i), f"s{i}", 0.0, 0.0, 20.0 - 0.1 * i) for i in range(60)]
    made = finding_chart.labels(places, stars, 45.0)
    assert next(iter(made)) == 59
    assert 7 in made
    assert len(made) > 40
    unit = 45.0 / (6.4 / 2 * 72)
    boxes = []
    for i, label in made.items():
        long = 5.4 * unit * len(label.text)
        left = -places[i, 0] + label.right - (long if label.right < 0 else (long / 2 if label.right == 0 else 0.0))
        boxes.append((left, places[i, 1] + label.above - 5 * unit, left + long, places[i, 1] + label.above + 5 * unit))
    for i, a in enumerate(boxes):
        assert max(map(abs, a)) <= 45.0
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_charts_are_drawn_for_the_screen_and_for_print(fresh):
    assert [p.name for p in draw(fresh.project, kinds=["charts"])] == ["Q.png"]
    drawn = draw(fresh.project, kinds=["print"])
    assert {p.name for p in drawn} == {"Q.pdf", "CamA_r.pdf", "CamB_g.pdf"}
    assert len(drawn) == 4  # the chart and the light curves of Q, and the stars of two groups
    assert all(p.read_bytes().startswith(b"%PDF") for p in drawn)


def test_the_psf_over_a_frame_is_compared_with_the_middles():
    places = psf_field.grid((90, 120), 3)
    assert places.shape == (9, 2)
    np.testing.assert_allclose(places[0], [19.5, 14.5])
    np.testing.assert_allclose(places[4], [59.5, 44.5])  # the middle of the frame
    np.testing.assert_allclose(places[2], [99.5, 14.5])  # the first row is the lowest
    sky = Sky(np.zeros((1, 2)), np.ones((1, 1)), stamp=20, kernel=41)
    rng = np.random.default_rng(0)
    kernel = moffat_kernel(sky, 1.0, rng)
    psf = PSF(kernel, kernel, 2, 0.0, FitStatus(FitState.CONVERGED), 1.0)
    same = psf_field.field_of("same", psf, np.tile(kernel, (9, 1, 1)))
    assert not same.varies
    wider = np.stack([kernel] * 8 + [moffat_kernel(sky, 1.5, rng)])
    field = psf_field.field_of("varying", psf, wider)
    assert field.varies
    assert field.differences[1, 1].max() == 0.0
    assert field.differences[2, 2, 20, 20] < -0.2  # the upper right corner has a lower peak
    np.testing.assert_allclose(field.kernels[2, 2], wider[8])
    made = psf_field.draw([same, field])
    assert made.axes[0].get_title(loc="left") == "the same everywhere in the frame"


def test_the_page_holds_a_picture_of_every_epoch(tiny):
    text = write_report(tiny.project).read_text(encoding="utf-8")
    found = [json.loads(s) for s in re.findall(r'class="epoch-pictures">(.*?)</script>', text, re.DOTALL)]
    assert [(s["roi"], s["name"], s["frames"]) for s in found] == [
        ("Q", "CamA r", [1, 2, 3, 4, 5]), ("Q", "CamB g", [7, 8, 9]),
    ]  # fmt: skip
    epochs = read_cutouts(tiny.project.workdir / FOLDER / f"cutouts_{stem('Q', 'CamA', 'r')}.h5")
    shape = Image.open(io.BytesIO(base64.b64decode(found[0]["sprites"][0].partition(",")[2]))).size
    n = epochs.cutouts.data.shape[1]
    assert shape == (3 * n, 5 * n)
    assert found[0]["about"][0].startswith("frame_01 · MJD 60301.10000 ")
    assert "D −2.0 ± 4.0 e⁻/s" in found[0]["about"][0]
