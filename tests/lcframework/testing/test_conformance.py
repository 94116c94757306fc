"""The checks pass what is right and name what is wrong."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import click
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import lcframework.testing as suite
from lcframework.storage.tables import Frame
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
from lcframework.work import FrameKey, Outcome, Stage, Task, Unit, work

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
    nan: bool = False  # in the pixels that it flags

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
        return np.where(flags > 0, np.nan, out) if self.nan else out, flags


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
    suite.check_reduction(Medians(nan=True))
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


_asked = [0]


@attrs.frozen
class Drifting(Flat):
    def estimate(self, image: Any, mask: Any) -> tuple[Any, float]:
        _asked[0] += 1
        sky, rms = super().estimate(image, mask)
        return sky + 0.01 * _asked[0], rms


def test_state_between_calls_is_noticed() -> None:
    assert "estimate answers the same input in another way the second time" in fails(
        suite.check_background_estimator, Drifting()
    )


@attrs.frozen
class Circling:
    """A place that depends on how often it was asked for, or on the times beside the one that counts."""

    counts: bool = False
    relative: bool = False
    degrees: float = 1.0

    def positions(self, ra: float, dec: float, moments: Any) -> tuple[Any, Any]:
        _asked[0] += self.counts
        start = min(moments.mjd, default=0.0) if self.relative else 60310.0
        n = np.asarray(moments.mjd) - start
        return (ra + 0.1 * n) % 360 * self.degrees, np.full(len(n), dec + 1e-3 * _asked[0] * self.counts)


def test_ephemeris() -> None:
    suite.check_ephemeris(Circling())
    assert "asked twice" in fails(suite.check_ephemeris, Circling(counts=True))
    assert "asked for one of the times alone" in fails(suite.check_ephemeris, Circling(relative=True))
    assert "from 0 to 360" in fails(suite.check_ephemeris, Circling(degrees=3600.0))
    assert "MJD 1e+06" in fails(suite.check_ephemeris, Circling(), outside=[1e6])


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


# ---------------------------------------------------------------- headers: a parser's own keywords


@attrs.frozen
class Hill:
    """Reads keywords that no other telescope has, some through a copy, a pattern and all cards."""

    forgets: str = ""

    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        if header.get("WHO") != "HILL":
            return None
        other = header.copy()
        values = {"SHUTTER": lambda: other["SHUTTER"], "EPERADU": lambda: other["EPER*"][0],
                  "SHOTAT": lambda: {c.keyword: c.value for c in other.cards}["SHOTAT"]}  # fmt: skip
        found = {}
        for key, read in values.items():
            try:
                found[key] = read()
            except (KeyError, IndexError):
                if key == self.forgets:
                    raise
                raise UnusableInput(f"no {key}") from None
        return HeaderInfo(found["SHUTTER"], found["EPERADU"], found["SHOTAT"])


def test_header_parser_without_each_keyword_that_it_reads() -> None:
    header = fits.Header([("WHO", "HILL"), ("SHUTTER", 30.0), ("EPERADU", 2.0), ("SHOTAT", 60000.0), ("OTHER", 1)])
    suite.check_header_parser(Hill(), header, expected={"exptime": 30.0, "gain": 2.0, "mjd_start": 60000.0})
    for key in ("SHUTTER", "EPERADU", "SHOTAT"):
        assert f"a header without {key}: raised" in fails(suite.check_header_parser, Hill(key), header)


# ---------------------------------------------------------------- stages


@attrs.frozen
class Nothing(Task[Any, Any, Any]):
    """Makes files with nothing in them."""

    flaw: str

    def load(self, unit: Unit[Any]) -> Any:
        return unit.payload

    def compute(self, values: Any) -> Any:
        if self.flaw == "bug":
            raise KeyError("x")
        if self.flaw == "unusable":
            raise UnusableInput("clouds")
        return values

    def save(self, unit: Unit[Any], values: Any, result: Any) -> Outcome:
        path = "/tmp/nothing" if self.flaw == "absolute" else "nothing.txt"
        if self.flaw != "no file":
            (self.toolbox.workdir / "nothing.txt").write_text("")
        return Outcome(path=path)


@attrs.define
class Steady(Stage):
    """A stage with one flaw, or none."""

    flaw: ClassVar[str] = ""
    name: ClassVar[str] = "steady"
    title: ClassVar[str] = "Steady"
    after: ClassVar[str] = "plate_solving"
    needs: ClassVar[tuple[str, ...]] = ("plate_solving",)
    size: int = 3

    def units(self, session: Any, ledger: Any) -> list[Unit[Any]]:
        parts: dict[str, Any] = {}
        if self.flaw == "writes":
            session.add(Frame(original_image_path="x", key="x"))
        if self.flaw == "reads on":
            ledger.made("psf_modeling", FrameKey)
        if self.flaw == "random":
            parts["x"] = np.random.default_rng().random()
        if self.flaw == "no JSON":
            parts["x"] = {1, 2}
        if self.flaw == "restless":
            parts["x"] = len(ledger.of_stage(self.name))
        keys = [FrameKey(1), FrameKey(1)] if self.flaw == "twice" else list(ledger.made("plate_solving", FrameKey))
        payload = (lambda: 0) if self.flaw == "unpicklable" else 0
        return [Unit(k, "" if self.flaw == "no label" else f"frame {k.frame_id}", self.components(**parts), payload)
                for k in keys]  # fmt: skip

    def tasks(self) -> Any:
        return {} if self.flaw == "no task" else {FrameKey: Nothing(self.name, self.toolbox, self.flaw)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return suite.example_project(tmp_path_factory.mktemp("example") / "project")


def test_stage(finished: Path) -> None:
    suite.check_stage(Steady, finished)
    suite.check_stage(type("Cloudy", (Steady,), {"flaw": "unusable"}), finished)


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("bug", "KeyError"), ("absolute", "relative to the workdir"), ("no file", "there is no nothing.txt"),
        ("writes", "units changes the database"), ("reads on", "which its `needs` does not name"),
        ("random", "other components"), ("no JSON", "no values that JSON can hold"),
        ("restless", "out of date as soon as it is made"), ("twice", "two units with the same key"),
        ("unpicklable", "do not pickle"), ("no label", "has no label"), ("no task", "no task for units"),
    ],
)  # fmt: skip
def test_bad_stage(flaw: str, words: str, finished: Path) -> None:
    for left in finished.parent.glob("nothing.txt"):
        left.unlink()
    kind = attrs.define(type("Flawed", (Steady,), {"flaw": flaw}))
    assert words in fails(suite.check_stage, kind, finished)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "psf_modeling"}, "as a stage or a section of lcframework"), ({"name": "psf"}, "choose another name"),
        ({"name": "My Stage"}, "lower case letters"), ({"after": ""}, "names no stage in `after`"),
        ({"title": ""}, "has no title"), ({"needs": "plate_solving"}, "needs must be a tuple"),
        ({"needs": ("psf_modeling",)}, "needs psf_modeling, which run after it"), ({"results_version": "1"}, "an int"),
        ({"operational": frozenset(["x"])}, "operational names x"), ({"tasks": Stage.tasks}, "does not define tasks"),
    ],
)  # fmt: skip
def test_bad_declarations_of_a_stage(changes: dict[str, Any], words: str) -> None:
    assert words in fails(suite.check_stage, attrs.define(type("Flawed", (Steady,), changes)))
    assert "no subclass" in fails(suite.check_stage, Good)


# ---------------------------------------------------------------- executors, panels, commands, listeners


class Serial:
    """Runs units one after another, with one flaw or none."""

    flaw = ""

    def __init__(self, workers: int) -> None:
        self.open = True

    def run(self, task: Any, batches: Any) -> Any:
        for batch in batches[1:] if self.flaw == "forgets" else batches:
            done = work(task, batch)
            yield done[::-1] if self.flaw == "turns" else done[0] if self.flaw == "no list" else done
            if self.flaw == "repeats":
                yield done
        if self.flaw == "adds":
            yield []

    def close(self, kill: bool = False) -> None:
        if self.flaw == "closes once" and not self.open:
            raise RuntimeError("closed already")
        self.open = False


@pytest.mark.parametrize(
    ("flaw", "words"),
    [("forgets", "each once is needed"), ("repeats", "each once is needed"), ("turns", "units of one batch"),
     ("no list", "a list of UnitResult"), ("adds", "units of one batch")],
)  # fmt: skip
def test_executor(flaw: str, words: str) -> None:
    suite.check_executor(Serial)
    assert words in fails(suite.check_executor, type("Flawed", (Serial,), {"flaw": flaw}))
    with pytest.raises(RuntimeError, match="closed already"):
        suite.check_executor(type("Flawed", (Serial,), {"flaw": "closes once"}))


class OddRun:
    def __init__(self, workers: int) -> None: ...
    def run(self, tasks: Any, batches: Any) -> Any: ...
    def close(self, kill: bool = False) -> None: ...


def test_executor_with_other_parameters() -> None:
    assert "run takes ['tasks', 'batches']" in fails(suite.check_executor, OddRun)


class Section:
    title = "Epochs"
    text = "<p>4 <b>epochs</b><br></p>"

    def render(self, project: Any) -> Any:
        return self.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": ""}, "has no title"), ({"text": None}, "not a text"), ({"text": "<p>4"}, "<p> is not closed"),
        ({"text": "</div>"}, "</div> closes nothing"), ({"text": "<body></body>"}, "belongs to the page"),
        ({"text": '<img src="https://x.org/a.png">'}, "loads https://x.org/a.png"),
        ({"render": lambda self, project: str(np.random.default_rng().random())}, "something else the second time"),
        ({"render": lambda self, project: project.light_curve_table() and ""}, "fails on a project that has not run"),
    ],
)  # fmt: skip
def test_report_panel(changes: dict[str, Any], words: str, finished: Path) -> None:
    suite.check_report_panel(Section, finished)
    assert words in fails(suite.check_report_panel, type("Flawed", (Section,), changes), finished)


def test_command() -> None:
    @click.command("fine")
    @click.option("--loud", is_flag=True, help="Speak up.")
    def fine(loud: bool) -> None:
        """Do nothing."""

    suite.check_command(fine, "fine")
    assert 'calls itself "fine"' in fails(suite.check_command, fine, "other")
    assert "not a click command" in fails(suite.check_command, lambda: None)
    assert "no docstring" in fails(suite.check_command, click.Command("bare"))
    silent = click.Command("silent", help="Has one.", params=[click.Option(["--loud"])])
    assert "--loud has no help" in fails(suite.check_command, silent)
    swallowing = click.Command("all", help="Takes all.", context_settings={"ignore_unknown_options": True},
                               params=[click.Argument(["words"], nargs=-1)])  # fmt: skip
    assert "--no-such-option ends with exit code 0" in fails(suite.check_command, swallowing)


def test_listener() -> None:
    def only_known(event: Any) -> None:
        {"run_started": 1}[event.kind]

    def slow(event: Any) -> None:
        time.sleep(0.6)

    suite.check_listener(lambda event: None)
    assert "fails on stage_started: KeyError" in fails(suite.check_listener, only_known)
    assert "keeps the run waiting" in fails(suite.check_listener, slow)
    assert "returns" in fails(suite.check_listener, lambda event: event.kind)


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
