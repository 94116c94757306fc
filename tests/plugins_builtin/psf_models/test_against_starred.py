"""Our objective is STARRED's own, and our solver ends no higher than STARRED's."""

from __future__ import annotations

import hashlib
import os
import pickle
from importlib.metadata import version
from pathlib import Path

import attrs
import numpy as np
import pytest

from lcframework.testing.psf_scenes import simulate_stars
from lcframework.types import PsfBatch
from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf.distortion import NAMES, scaled_positions
from plugins_builtin.engine.psf.fit import Limits, begin_frames, run_fits
from plugins_builtin.engine.psf.model import Frame, Model, Setting, objective
from plugins_builtin.psf_models.starred_reference import StarredReference


@pytest.fixture
def losses(benchmark_module):
    """STARRED's Loss of a frame, and our parameters in its terms."""
    return benchmark_module("psf_losses")


def _begin(batch, setting, limits):
    position = scaled_positions(batch.xy, batch.frame_shape)
    return begin_frames(batch.data, batch.noise, batch.mask, batch.offset, batch.seeing, position, setting, limits)


@pytest.mark.parametrize(("subsampling", "distorted", "double"), [(2, False, True), (2, False, False), (3, True, True)])
def test_objective_and_gradient_are_those_of_starred(losses, subsampling, distorted, double):
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(4)
    batch = simulate_stars(1, 6, 12, seed=3).batch
    batch.mask[0, 2, 3:5, 4] = True
    setting = Setting(subsampling, 2.0, distorted)
    (fit,) = _begin(batch, setting, Limits())
    m = 12 * subsampling
    model = fit.model._replace(
        shape=np.array([1.3, 0.2, -0.15, 1.0]),
        correction=0.03 * rng.normal(size=(m, m)),
        distortion=0.1 * rng.normal(size=6) if distorted else np.zeros(6),
    )
    norm = float(np.percentile(batch.data[0], 99.0))
    prepared = fit.prepared
    dtype = np.float64 if double else np.float32

    def ours(model):
        frame = Frame(
            *(jnp.asarray(v, dtype) for v in (prepared.data, prepared.inverse_variance, fit.position, prepared.penalty))
        )
        return objective(model, frame, 0.0, setting)

    with double_precision():
        weights = np.zeros((len(prepared.penalty) + 1, m, m))
        weights[:-1] = prepared.penalty * subsampling**2 / len(prepared.data) * norm / prepared.unit
        loss = losses.starred_loss(batch.data[0], batch.noise[0], fit.good, weights, norm, setting, fit.position)
        arguments = losses.starred_arguments(model, prepared.unit / norm, setting)
        expected, slopes = jax.jit(jax.value_and_grad(loss.loss))(arguments)
        value, gradient = jax.jit(jax.value_and_grad(ours))(Model(*(jnp.asarray(part, dtype) for part in model)))
        slopes, gradient = jax.tree.map(np.asarray, (slopes, gradient))
    assert float(value) == pytest.approx(float(expected), rel=1e-10 if double else 1e-5)
    scale = prepared.unit / norm
    pairs = [
        (gradient.correction.ravel(), slopes["kwargs_background"]["background"] * scale),
        (gradient.amplitude, slopes["kwargs_gaussian"]["a"] * scale * subsampling**2),
        (gradient.x, slopes["kwargs_gaussian"]["x0"]),
        (gradient.y, slopes["kwargs_gaussian"]["y0"]),
    ]
    if distorted:
        pairs.append((gradient.distortion, np.concatenate([slopes["kwargs_distortion"][name] for name in NAMES])))
    for one, other in pairs:
        other = np.asarray(other)
        np.testing.assert_allclose(np.asarray(one), other, atol=(1e-9 if double else 1e-4) * abs(other).max())


# ---------------------------------------------------------------- the minimum


def _hatp32_batch(frames, stars=10, size=24):
    """Real stamps, undersampled and with hot pixels: the brightest isolated unsaturated stars of raw frames."""
    import sep
    from astropy.io import fits

    folder = os.environ.get("LCF_HATP32", "")
    paths = sorted((Path(folder) / "raw").glob("*.FITS")) if folder else []
    if len(paths) < frames:
        pytest.skip("LCF_HATP32 does not name a folder with the frames of HAT-P-32 in raw/")
    gain, read_noise, half = 39.0, 0.6, size // 2
    stamps, noises, masks, places, widths = [], [], [], [], []
    for path in paths[:: len(paths) // frames][:frames]:
        image = fits.getdata(path).astype(np.float32)[10:, 5:].copy()
        sky = sep.Background(image, bw=64, bh=64)
        clean = image - sky.back()
        found, segments = sep.extract(clean, 3.0, err=sky.globalrms, segmentation_map=True)
        peaks = np.array([image[int(y), int(x)] for x, y in zip(found["x"], found["y"], strict=True)])
        order = np.argsort(-found["flux"])
        chosen = []
        for i in order:
            x, y = round(found["x"][i]), round(found["y"][i])
            inside = half < x < image.shape[1] - half and half < y < image.shape[0] - half
            near = np.hypot(found["x"] - found["x"][i], found["y"] - found["y"][i])
            brighter = (near > 0) & (near < 10) & (found["flux"] > 0.1 * found["flux"][i])
            if inside and peaks[i] < 3500 and found["npix"][i] > 5 and not brighter.any():
                chosen.append((x, y, i + 1))
            if len(chosen) == stars:
                break
        cut = [(slice(y - half, y + half), slice(x - half, x + half)) for x, y, _ in chosen]
        stamps.append([clean[where] for where in cut])
        noises.append([np.sqrt(read_noise**2 + np.maximum(image[where] - 330.0, 1.0) / gain) for where in cut])
        own = [segment for _, _, segment in chosen]
        masks.append(
            [(image[w] > 3900) | ((segments[w] > 0) & (segments[w] != o)) for w, o in zip(cut, own, strict=True)]
        )
        places.append([(x - 0.5, y - 0.5) for x, y, _ in chosen])
        widths.append(2.0)
    return PsfBatch(
        data=np.array(stamps, float),
        noise=np.array(noises, float),
        mask=np.array(masks),
        xy=np.array(places),
        offset=np.zeros((frames, stars, 2)),
        seeing=np.array(widths),
        frame_shape=(490, 645),
    )


def _one_frame(batch, f):
    names = ("data", "noise", "mask", "xy", "offset", "seeing")
    return attrs.evolve(batch, **{name: getattr(batch, name)[f : f + 1] for name in names})


def _starreds_answer(one, setting, monkeypatch):
    """Return the weights that STARRED's routine drew for a frame and the parameters that it ends at.

    It takes some thirty seconds a frame. Where LCF_STARRED_RESULTS names a folder, its answers are kept there.
    """
    import jax
    from starred.procedures import psf_routines

    parts = [getattr(one, name).tobytes() for name in ("data", "noise", "mask", "xy", "offset", "seeing")]
    key = hashlib.sha256(b"".join([repr((version("starred-astro"), tuple(setting))).encode(), *parts])).hexdigest()[:24]
    folder = os.environ.get("LCF_STARRED_RESULTS", "")
    kept = Path(folder) / f"{key}.pickle"
    if folder and kept.is_file():
        return pickle.loads(kept.read_bytes())
    drawn, results = [], []
    draw, build = psf_routines.propagate_noise, psf_routines.build_psf
    with monkeypatch.context() as patch:
        patch.setattr(psf_routines, "propagate_noise", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
        patch.setattr(psf_routines, "build_psf", lambda *a, **k: results.append(build(*a, **k)) or results[-1])
        StarredReference(setting.subsampling, setting.distorted).fit(one)
    # STARRED compiles anew for every frame; what it leaves behind ends in a crash after some twenty.
    jax.clear_caches()
    answer = np.asarray(drawn[-1][0], float), jax.tree.map(lambda v: np.asarray(v, float), results[-1]["kwargs_psf"])
    if folder:
        kept.write_bytes(pickle.dumps(answer))
    return answer


def _differences(batch, losses, monkeypatch, setting):
    """STARRED's Loss of our solution minus that of STARRED's solution, a frame, with the weights that it drew."""
    import jax
    import jax.numpy as jnp

    limits = Limits(outliers=0.0, stars=0.0)
    rows = []
    for f in range(len(batch.data)):
        one = _one_frame(batch, f)
        weights, parameters = _starreds_answer(one, setting, monkeypatch)
        (fit,) = _begin(one, setting, limits)
        norm = float(np.percentile(np.where(fit.good, fit.data, 0.0).astype(np.float32), 99.0))
        scale = fit.prepared.unit / norm
        own = fit.prepared
        fit.prepared = attrs.evolve(own, penalty=len(fit.data) / setting.subsampling**2 * scale * weights[:-1])
        run_fits([fit], setting, limits)
        with_drawn, evaluations = fit.model, fit.evaluations
        (fit,) = _begin(one, setting, limits)
        run_fits([fit], setting, limits)
        with double_precision():
            loss = losses.starred_loss(fit.data, fit.noise, fit.good, weights, norm, setting, fit.position)
            theirs = float(loss.loss(jax.tree.map(lambda v: jnp.asarray(v, float), parameters)))
            ours, closed = (
                float(loss.loss(losses.starred_arguments(model, scale, setting))) for model in (with_drawn, fit.model)
            )
        rows.append((theirs, ours - theirs, closed - theirs, evaluations))
        print(
            f"frame {f}: STARRED {theirs:.2f}, ours {ours - theirs:+.2f}, closed-form weights {closed - theirs:+.2f}, "
            f"{evaluations} evaluations",
            flush=True,
        )
    return np.array(rows)


_SCENES = {
    "simulated": (lambda: simulate_stars(12, 10, 24, seed=1).batch, Setting(2, 2.0, False)),
    "hatp32": (lambda: _hatp32_batch(24), Setting(2, 2.0, False)),
    "distorted": (lambda: simulate_stars(3, 8, 24, seed=21).batch, Setting(2, 2.0, True)),
    "hatp32, distorted": (lambda: _hatp32_batch(3), Setting(2, 2.0, True)),
    "subsampling 1": (lambda: simulate_stars(3, 8, 24, seed=31).batch, Setting(1, 2.0, False)),
    "subsampling 3": (lambda: simulate_stars(3, 8, 20, seed=33).batch, Setting(3, 2.0, False)),
    "subsampling 4": (lambda: simulate_stars(2, 8, 16, seed=34, fwhm=(2.5, 4.0)).batch, Setting(4, 2.0, False)),
}


@pytest.mark.slow
@pytest.mark.parametrize("scene", _SCENES)
def test_ends_no_higher_than_starred(scene, losses, monkeypatch):
    make, setting = _SCENES[scene]
    rows = _differences(make(), losses, monkeypatch, setting)
    change = rows[:, 1]
    print(
        f"{scene}: min {change.min():.2f}, median {np.median(change):.2f}, max {change.max():.2f}; "
        f"{rows[:, 3].mean():.0f} evaluations a frame"
    )
    assert (change <= 0.0).all()
