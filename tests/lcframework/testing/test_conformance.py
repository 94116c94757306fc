"""The checks pass what is right and name what is wrong."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import lcframework.testing as suite
from lcframework.testing.conformance import scenes
from lcframework.testing.conformance.imports import example_header
from lcframework.types import (
    PSF,
    CatalogLimits,
    Exposure,
    FitState,
    FitStatus,
    HeaderInfo,
    Kernels,
    Master,
    MasterPlan,
    NormalizationSolution,
    NotSolved,
    PhotometryResult,
    PlateSolution,
    PsfBatch,
    Region,
    SolveHint,
    Stamps,
    UnusableInput,
)

CONVERGED = FitStatus(FitState.CONVERGED)


def fails(check: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as error:
        check(*arguments, **options)
    return str(error.value)


# ---------------------------------------------------------------- classes


@attrs.frozen
class Good:
    results_version: ClassVar[int] = 2
    size: float = 1.0  # pixels
    nothing: float = np.nan


@attrs.define
class Changeable:
    size: float = 1.0


@attrs.frozen
class WithoutDefault:
    size: float


@attrs.frozen
class Unpicklable:
    call: Any = attrs.field(factory=lambda: lambda: 0)


@attrs.frozen
class OddVersion:
    results_version: ClassVar[str] = "two"


@attrs.frozen
class OddForecast:
    def frames_at_once(self, frames: int) -> tuple[int, str]:
        return frames, ""


class Plain:
    pass


def test_good_class() -> None:
    suite.check_plugin_class(Good())


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (Plain(), "@attrs.frozen"),
        (Changeable(), "can be changed"),
        (WithoutDefault(2.0), "no default"),
        (Unpicklable(), "worker process"),
        (OddVersion(), "results_version"),
        (OddForecast(), "frames_at_once takes (frames) where the protocol has (stars, size)"),
    ],
)
def test_bad_class(plugin: Any, words: str) -> None:
    message = fails(suite.check_plugin_class, plugin)
    assert words in message
    assert type(plugin).__name__ in message


# ---------------------------------------------------------------- import


@attrs.frozen
class Headers:
    shift: float = 0.0
    careless: bool = False

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        if "EXPTIME" not in header and not self.careless:
            raise UnusableInput("no exposure time")
        return HeaderInfo(header["EXPTIME"], header.get("GAIN", 1.0), 60360.0 + self.shift)


def test_header_parser() -> None:
    expected = dict(exptime=120.0, gain=2.5, mjd_start=60360.0)
    suite.check_header_parser(Headers(), example_header(), expected=expected)
    assert "mjd_start" in fails(suite.check_header_parser, Headers(shift=0.1), example_header(), expected=expected)
    assert "KeyError" in fails(suite.check_header_parser, Headers(careless=True))


@attrs.frozen
class Medians:
    """Medians of bias and flats, each less its bias; darks are of one exposure time here."""

    flaw: str = ""

    def describe(self, header: fits.Header, path: Path, shape: tuple[int, int]) -> Exposure:
        kind = str(header["IMAGETYP"]).split()[0].lower()
        if self.flaw == "changes the header":
            header["IMAGETYP"] = kind
        return Exposure(path.name, kind, (), str(header.get("FILTER", "")), float(header["EXPTIME"]), None, shape)

    def plan(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[MasterPlan, ...]:
        every = self.flaw == "any filter"
        of = {kind: tuple(e.name for e in calibrations
                          if e.kind == kind and (kind != "flat" or every or e.band == frame.band))
              for kind in ("bias", "dark", "flat")}  # fmt: skip
        bias = MasterPlan("bias", "bias", of["bias"])
        dark = MasterPlan("dark", "dark", of["dark"], (bias,))
        flat = MasterPlan(f"flat {frame.band}", "flat", of["flat"], (bias,))
        return (bias, dark, flat) if of["flat"] and self.flaw != "no flat" else (bias, dark)

    def combine(
        self, plan: MasterPlan, members: Sequence[Exposure], images: np.ndarray, masters: Mapping[str, Master]
    ) -> Master:
        stack = images - masters["bias"].image if masters and self.flaw != "pedestal" else images
        if plan.kind == "flat":
            stack = stack / np.median(stack, axis=(1, 2), keepdims=True)
        image = np.median(stack, axis=0)
        dead = (image < 0.1) & (plan.kind == "flat")
        return Master(plan.kind, np.where(dead, 1, image), dead & (self.flaw != "no flags"), members[0].exptime)

    def reduce(
        self, image: np.ndarray, frame: Exposure, masters: Mapping[str, Master]
    ) -> tuple[np.ndarray, np.ndarray]:
        flags = np.zeros(image.shape, np.uint8)
        if self.flaw == "changes the image":
            image -= 1
        level = masters["bias"].image
        out = image - (np.median(level) if self.flaw == "columns" else level)
        out = out - masters["dark"].image * (frame.exptime or 0.0) / (masters["dark"].exptime or 1.0)
        if "flat" in masters:
            out = out / masters["flat"].image
            flags[masters["flat"].bad] = 64
        return out, flags


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("no flat", "does not flag pixels that see no light"), ("any filter", "deviates from the truth"),
        ("changes the header", "changed the header"), ("changes the image", "changed its input 'image'"),
        ("columns", "deviates from the truth"), ("no flags", "does not flag"), ("pedestal", "the sky is"),
    ],
)  # fmt: skip
def test_reduction(flaw: str, words: str) -> None:
    suite.check_reduction(Medians())
    assert words in fails(suite.check_reduction, Medians(flaw))


@attrs.frozen
class Flat:
    bias: float = 0.0
    careless: bool = False

    def estimate(self, image: Any, mask: Any) -> Any:
        from scipy.stats import sigmaclip

        good = image[~mask]
        if not good.size and not self.careless:
            raise UnusableInput("no pixel")
        v, u = np.mgrid[: image.shape[0], : image.shape[1]]
        kept = ~mask
        for _ in range(8):
            terms = np.stack([np.ones(kept.sum()), u[kept], v[kept]], axis=1)
            plane = np.linalg.lstsq(terms, image[kept].astype(float), rcond=None)[0]
            sky = plane[0] + plane[1] * u + plane[2] * v
            rms = sigmaclip((image - sky)[kept], 2.5, 2.5)[0].std()
            kept = ~mask & (np.abs(np.where(mask, 0.0, image - sky)) < 2.5 * rms)
        return sky + self.bias, 1.04 * rms


def test_background() -> None:
    suite.check_background_estimator(Flat())
    assert "off the truth" in fails(suite.check_background_estimator, Flat(bias=0.15))
    assert "UnusableInput" in fails(suite.check_background_estimator, Flat(careless=True))


@attrs.frozen
class Threshold:
    origin: float = 0.0

    def extract(self, image: Any, variance: Any, mask: Any) -> Table:
        from scipy import ndimage

        clean = np.where(mask, 0.0, image)
        smooth = ndimage.gaussian_filter(clean, 1.3)
        above = smooth > 1.2 * np.median(np.sqrt(variance))
        grown, n = ndimage.label(ndimage.binary_dilation(above, iterations=4))
        index = np.arange(1, n + 1)
        y, x = np.array(ndimage.center_of_mass(clean, grown, index)).reshape(-1, 2).T
        flux = np.array(ndimage.sum_labels(clean, grown, index))
        ones = np.ones(n)
        columns = dict(x=x + self.origin, y=y + self.origin, flux=flux, fwhm=3.3 * ones, a=ones, b=ones, theta=0 * ones)
        return Table(columns | {"flags": np.zeros(n, int)})


def test_source_extractor() -> None:
    suite.check_source_extractor(Threshold())
    assert "(0, 0)" in fails(suite.check_source_extractor, Threshold(origin=0.5))


@attrs.frozen
class Contrast:
    threshold: float = 8.0

    def mask(self, stamps: Any, noise: Any) -> Any:
        from scipy.ndimage import median_filter

        smooth = median_filter(stamps, (1, 5, 5))
        return (stamps - smooth) > self.threshold * np.hypot(noise, 0.3 * np.abs(smooth))


def test_cosmic_masker() -> None:
    suite.check_cosmic_masker(Contrast())
    assert "found" in fails(suite.check_cosmic_masker, Contrast(threshold=1e3))
    assert "masked" in fails(suite.check_cosmic_masker, Contrast(threshold=0.2))


# ---------------------------------------------------------------- sky


@attrs.frozen
class Believer:
    shift: float = 0.0  # pixels

    def solve(self, sources: Any, shape: Any, hint: SolveHint) -> Any:
        if hint.header is None:
            return NotSolved("no header")
        header = hint.header.copy()
        header["CRPIX1"] += self.shift
        return PlateSolution(header, 12, 0.1)


def test_plate_solver() -> None:
    suite.check_plate_solver(Believer())
    assert "1.00 pixels off" in fails(suite.check_plate_solver, Believer(shift=1.0))


@attrs.frozen
class Catalog:
    deaf: bool = False

    def query(self, region: Region, limits: CatalogLimits) -> Table:
        stars = scenes.field().stars
        if abs(region.ra - 150.0) > 1.0:
            return stars[:0]
        low, high = (-np.inf, np.inf) if self.deaf else limits.magnitude
        return stars[(stars["magnitude"] >= low) & (stars["magnitude"] <= high)]


def test_star_catalog() -> None:
    region = Region(150.0, -28.0, 0.2)
    suite.check_star_catalog(Catalog(), region)
    assert "outside the magnitudes" in fails(suite.check_star_catalog, Catalog(deaf=True), region)


@attrs.frozen
class Survey:
    by_row: bool = False

    def magnitudes(self, stars: Table, band: str) -> Table:
        if band != "r_sdss":
            raise UnusableInput(f"no band {band!r}: there is r_sdss")
        table = Table(dict(source_id=stars["source_id"], mag=stars["magnitude"] - 0.1))
        if self.by_row:
            table["mag"] += 0.01 * np.arange(len(table))
        table["mag_err"] = 0.02
        table.meta["system"] = "AB"
        return table


def test_calibration_survey() -> None:
    suite.check_calibration_survey(Survey())
    assert "another order" in fails(suite.check_calibration_survey, Survey(by_row=True))


# ---------------------------------------------------------------- fits


@attrs.frozen
class Oracle:
    """A PSF model that was told the answer."""

    brighter: float = 1.0
    aside: float = 0.0  # pixels

    def fit(self, batch: PsfBatch) -> list[PSF]:
        truth = scenes.stars_of_frames(1, len(batch))
        return [
            PSF(
                narrow=psf.narrow(48, 2, 2.0),
                full=psf.narrow(48, 2, 0.0),
                subsampling_factor=2,
                target_fwhm=2.0,
                status=CONVERGED,
                reduced_chi2=1.0,
                amplitude=self.brighter * truth.flux[f],
                offset=truth.xy[f] + self.aside,
            )
            for f, psf in enumerate(truth.psf)
        ]

    def at(self, psf: PSF, xy: Any) -> Any:
        return np.repeat(psf.narrow[None], len(xy), axis=0)


def test_psf_model() -> None:
    suite.check_psf_model(Oracle())
    assert "amplitudes" in fails(suite.check_psf_model, Oracle(brighter=1.05))
    assert "(m - 1) / 2" in fails(suite.check_psf_model, Oracle(aside=0.25))


@attrs.frozen
class GaussNewton:
    """Photometry by Gauss-Newton on the definition of the kernels, with numerical derivatives."""

    joint: ClassVar[bool] = False
    boast: float = 1.0
    trusting: bool = False

    def measure(self, stamps: Stamps, kernels: Kernels) -> PhotometryResult:
        fits_ = [self._one(i, stamps, kernels) for i in range(len(stamps))]
        p, covariance, chi2, status, model = (list(v) for v in zip(*fits_, strict=True))
        flux, x, y = np.array(p).T
        return PhotometryResult(
            flux,
            x,
            y,
            np.zeros(len(flux)),
            np.array(covariance) / self.boast**2,
            np.array(chi2),
            tuple(status),
            np.array(model),
            np.zeros(stamps.data.shape, bool),
        )

    def _one(self, i: int, stamps: Stamps, kernels: Kernels) -> Any:
        good = ~stamps.mask[i]
        failed = FitStatus(FitState.FAILED, reason="no usable pixel")
        if not good.any():
            status = CONVERGED if self.trusting else failed
            return np.zeros(3), np.eye(3), 0.0, status, np.zeros(stamps.data[i].shape)
        size, s, target = stamps.data.shape[1], kernels.subsampling_factor, kernels.target_fwhm
        weight = np.where(good, stamps.noise[i] ** -2.0, 0.0)

        def image(x: float, y: float) -> Any:
            return scenes.widened(kernels.values[i], x, y, size, s, target)

        x, y = stamps.offset[i]
        for _ in range(6):
            unit = image(x, y)
            flux = np.sum(unit * stamps.data[i] * weight) / np.sum(unit**2 * weight)
            h = 1e-3
            dx = flux * (image(x + h, y) - image(x - h, y)) / (2 * h)
            dy = flux * (image(x, y + h) - image(x, y - h)) / (2 * h)
            design = np.stack([unit, dx, dy]).reshape(3, -1)
            normal = (design * weight.ravel()) @ design.T
            residual = stamps.data[i] - flux * unit
            step = np.linalg.solve(normal, (design * weight.ravel()) @ residual.ravel())
            flux, x, y = flux + step[0], x + step[1], y + step[2]
        model = flux * image(x, y)
        chi2 = np.sum(weight * (stamps.data[i] - model) ** 2) / (good.sum() - 3)
        return np.array([flux, x, y]), np.linalg.inv(normal), chi2, CONVERGED, model


def test_photometry() -> None:
    suite.check_photometry(GaussNewton())
    assert "stated errors" in fails(suite.check_photometry, GaussNewton(boast=4.0))
    assert "a usable status" in fails(suite.check_photometry, GaussNewton(trusting=True))


@attrs.frozen
class MedianRatios:
    inverted: bool = False
    per_star: bool = False

    def solve(self, fluxes: Any) -> NormalizationSolution:
        flux = fluxes.flux
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a frame that is all nan
            level = np.nanmedian(flux, axis=0)
            for _ in range(20):
                coefficient = np.nanmedian(flux / level, axis=1)
                level = np.nanmedian(flux / coefficient[:, None], axis=0)
            relative = flux / coefficient[:, None] / level - 1
            scatter = 1.48 * np.nanmedian(np.abs(relative), axis=1)
            per_star = 1.48 * np.nanmedian(np.abs(relative), axis=0)
        used = np.isfinite(flux) & (np.abs(np.nan_to_num(relative)) < 0.3)
        number = np.maximum(np.isfinite(flux).sum(axis=1), 1)
        error = 1.25 * scatter / np.sqrt(number) * coefficient
        if self.inverted:
            coefficient = 1 / coefficient
        return NormalizationSolution(
            coefficient, error, scatter, level, 0.01 * level, per_star, used, CONVERGED,
            extra_scatter=per_star if self.per_star else None,
        )  # fmt: skip


def test_normalization() -> None:
    suite.check_normalization(MedianRatios())
    assert "coefficient" in fails(suite.check_normalization, MedianRatios(inverted=True))
    assert "extra_scatter has the shape" in fails(suite.check_normalization, MedianRatios(per_star=True))


# ---------------------------------------------------------------- exporters


@attrs.frozen
class Csv:
    spoil: bool = False
    only_mjd: bool = False

    def export(self, light_curve: Table, path: Path) -> None:
        if self.spoil:
            light_curve["mjd"] *= 1.5
        if not self.only_mjd:
            light_curve.write(path, format="ascii.csv", overwrite=True)


def test_exporter(tmp_path: Path) -> None:
    suite.check_exporter(Csv(), tmp_path / "curve.csv")
    assert "changed the column mjd" in fails(suite.check_exporter, Csv(spoil=True), tmp_path / "other.csv")
    assert "wrote nothing" in fails(suite.check_exporter, Csv(only_mjd=True), tmp_path / "third.csv")


# ---------------------------------------------------------------- the package


def test_every_name_is_importable() -> None:
    for name in suite.__all__:
        assert callable(getattr(suite, name))
    with pytest.raises(AttributeError, match="no_such_check"):
        suite.no_such_check  # noqa: B018


def test_import_is_light() -> None:
    heavy = "{'numpy', 'astropy', 'scipy', 'galsim', 'jax'}"
    code = f"import sys, lcframework.testing; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
