"""The guarded call: read-only inputs, checked answers, prints in the log, and faults that name who did what."""

from __future__ import annotations

import errno
import sys
import threading
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.table import Table

from lcframework.plugins import PluginFault, Source, asked, collected, working_on
from lcframework.types import (
    PSF,
    Cutouts,
    FitState,
    FitStatus,
    FluxMatrix,
    HighResolution,
    Kernels,
    NormalizationSolution,
    PhotometryResult,
    PointSources,
    PsfBatch,
    RoiFit,
    Stamps,
    UnusableInput,
)

CONVERGED = FitStatus(FitState.CONVERGED, 3)
FAILED = FitStatus(FitState.FAILED, 3, "no")


def source(hook: str = "lcf_psf_models", section: str = "psf") -> Source:
    return Source(section, hook, "moffat", "psf-moffat", "lcf-moffat 0.3", __name__)


def test_a_fault_names_plugin_package_version_method_line_and_contact() -> None:
    def fit() -> None:
        raise ValueError("no\nlight")

    with pytest.raises(PluginFault) as error:
        asked(source(), "fit", fit)
    text = str(error.value)
    assert text.startswith("[psf] moffat (psf-moffat of lcf-moffat 0.3): fit raised ValueError: no light (")
    assert f"{__file__}, line {fit.__code__.co_firstlineno + 1}). Please report it to the authors of lcf-moffat" in text
    assert isinstance(error.value.__cause__, ValueError)


def test_sys_exit_is_a_fault_and_documented_exceptions_pass() -> None:
    with pytest.raises(PluginFault, match="fit raised SystemExit: 3"):
        asked(source(), "fit", sys.exit, 3)
    with pytest.raises(UnusableInput, match=r"^too faint$"):
        asked(source(), "fit", lambda: (_ for _ in ()).throw(UnusableInput("too faint")))


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "No space left"), (errno.EIO, "Input/output"), (errno.ESTALE, "Stale")]
)
def test_storage_that_fails_is_nobodys_fault(number: int, text: str) -> None:
    def fails() -> None:
        raise OSError(number, text)

    with pytest.raises(OSError, match=text):
        asked(source(), "fit", fails)


def test_inputs_are_read_only_and_those_of_the_caller_are_not() -> None:
    image, table = np.zeros((3, 3)), Table({"a": [1.0, 2.0]})
    stamps = Stamps(np.zeros((1, 3, 3)), np.ones((1, 3, 3)), np.zeros((1, 3, 3), bool), np.zeros((1, 2)))

    def change(what: Any) -> None:
        what[:] = 1

    for given in (lambda i, t, s: change(i), lambda i, t, s: change(t["a"]), lambda i, t, s: change(s.data)):
        with pytest.raises(PluginFault, match="read-only"):
            asked(source("other"), "x", given, image, table, stamps)
    for array in (image, table["a"], stamps.data):
        array[:] = 5
    assert asked(source("other"), "x", lambda s: np.shares_memory(s.data, stamps.data), stamps)


def test_what_is_printed_is_kept_with_the_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def talk() -> int:
        print("hello")
        other = threading.Thread(target=print, args=("from another thread",))
        other.start()
        other.join()
        return 1

    with collected() as calls, working_on("frame_7"):
        assert asked(source("other"), "x", talk) == 1
    print("afterwards")
    assert capsys.readouterr().out == "from another thread\nafterwards\n"
    (call,) = calls
    assert (call.printed, call.unit, call.method, call.error) == ("hello\n", "frame_7", "x", "")
    assert call.seconds > 0


# ---------------------------------------------------------------- answers


def refused(hook: str, method: str, answer: Any, *arguments: Any) -> str:
    with pytest.raises(PluginFault) as error:
        asked(source(hook), method, lambda *_: answer, *arguments)
    text = str(error.value)
    assert text.startswith(f"[psf] moffat (psf-moffat of lcf-moffat 0.3): {method} returned ")
    return text.partition("returned ")[2].partition(". Please report")[0]


IMAGE = np.zeros((4, 4))
KERNEL = np.full((5, 5), 1 / 25)
BATCH = PsfBatch(
    np.zeros((1, 2, 5, 5)), np.ones((1, 2, 5, 5)), np.zeros((1, 2, 5, 5), bool), np.zeros((1, 2, 2)),
    np.zeros((1, 2, 2)), np.ones(1), (50, 50),
)  # fmt: skip


def psf(narrow: Any = KERNEL, status: FitStatus = CONVERGED, **more: Any) -> PSF:
    values = {"full": narrow, "subsampling_factor": 2, "target_fwhm": 2.0, "reduced_chi2": 1.0} | more
    return PSF(narrow=narrow, status=status, **values)


def test_psfs() -> None:
    def of(answer: Any) -> str:
        return refused("lcf_psf_models", "fit", answer, BATCH)

    assert of([psf(3 * KERNEL)]) == 'a narrow PSF, "converged", whose sum is 3; it must be 1'
    assert of([psf(np.nan * KERNEL)]) == 'a narrow PSF, "converged", with 25 of 25 values that are not finite'
    assert of([psf(KERNEL[:3])]).startswith("a narrow PSF of shape (3, 5)")
    assert of([psf(subsampling_factor=1.5)]).startswith("subsampling_factor = 1.5")
    assert of([]) == "0 PSFs for 1 frames"
    assert of([KERNEL]) == "a ndarray; PSF is needed"
    good = [psf()]
    assert asked(source(), "fit", lambda b: good, BATCH) == good
    failed = [psf(np.nan * KERNEL, FAILED)]
    assert asked(source(), "fit", lambda b: failed, BATCH) == failed
    # Normalised within a disc: wings that grow over the field are no error.
    vary = 1.06 * KERNEL[None]
    assert asked(source(), "at", lambda p, xy: vary, psf(), np.zeros((1, 2))) is vary
    assert (
        refused("lcf_psf_models", "at", 3 * KERNEL[None], psf(), np.zeros((1, 2)))
        == "kernels whose sum is 3; it must be 1"
    )
    assert refused("lcf_psf_models", "at", KERNEL[None], psf(), np.zeros((2, 2))).startswith(
        "kernels of shape (1, 5, 5)"
    )


def magnitudes(**columns: Any) -> Table:
    table = Table({"source_id": ["1", "2"], "mag": [15.0, 16.0], "mag_err": [0.01, 0.0]}, meta={"system": "AB"})
    for name, values in columns.items():
        table[name] = values
    return table


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"mag": [15.0, np.nan]}, "1 of 2 values of mag that are not finite"),
        ({"mag": np.ma.masked_array([15.0, 16.0], [True, False])}, "1 of 2 values of mag that are not finite"),
        ({"mag_err": [0.01, -0.02]}, "mag_err = -0.02, which lies outside 0 to inf"),
        ({"mag_err": [0.01, np.inf]}, "1 of 2 values of mag_err"),
        ({"mag": ["15", "faint"]}, "mag of type <U5; numbers are needed"),
        ({"source_id": ["1", "1"]}, "in which a source_id appears twice"),
        ({"source_id": ["1", "9"]}, "magnitudes of 1 stars that it was not asked for, such as 9"),
    ],
)
def test_magnitudes(columns: dict[str, Any], words: str) -> None:
    stars = Table({"source_id": ["1", "2", "3"]})
    assert words in refused("lcf_calibration_surveys", "magnitudes", magnitudes(**columns), stars, "r")


def test_units_of_columns() -> None:
    from astropy import units as u

    stars, table = Table({"source_id": ["1", "2"]}), magnitudes()
    table["mag"].unit = "Jy"
    words = refused("lcf_calibration_surveys", "magnitudes", table, stars, "r")
    assert "mag in Jy; it must be in mag, or without a unit" in words
    table["mag"].unit = u.mag
    assert asked(source("lcf_calibration_surveys"), "magnitudes", lambda s, b: table, stars, "r") is table


def photometry(**more: Any) -> PhotometryResult:
    n, zeros = 2, np.zeros(2)
    values: dict[str, Any] = {
        "flux": zeros + 10, "x": zeros, "y": zeros, "background": zeros, "covariance": np.tile(np.eye(3), (n, 1, 1)),
        "reduced_chi2": zeros + 1, "status": (CONVERGED,) * n, "model": np.zeros((n, 5, 5)),
        "outliers": np.zeros((n, 5, 5), bool),
    }  # fmt: skip
    return PhotometryResult(**values | more)


def test_star_fluxes() -> None:
    stamps = Stamps(np.zeros((2, 5, 5)), np.ones((2, 5, 5)), np.zeros((2, 5, 5), bool), np.zeros((2, 2)))
    kernels = Kernels(np.stack([KERNEL, KERNEL]), 2, 2.0)

    def of(**more: Any) -> str:
        return refused("lcf_photometry", "measure", photometry(**more), stamps, kernels)

    assert of(flux=np.full(2, np.nan)) == "fluxes that converged, none of them finite"
    assert of(covariance=-np.tile(np.eye(3), (2, 1, 1))) == "variances with 6 negative values, such as -1"
    assert of(flux=np.zeros(3)) == "flux of shape (3,); (2,) is needed"
    assert of(outliers=np.zeros((2, 5, 5))).startswith("outliers of type float64; true or false are needed")
    assert of(status=(CONVERGED,)) == "1 states of 2 fits"


def test_an_input_that_is_given_back_can_be_written_to() -> None:
    image = np.ones((4, 4))
    sky, _ = asked(source("lcf_background_estimators"), "estimate", lambda i, m: (i, 1.0), image, image > 2)
    sky[0, 0] = 7
    assert image[0, 0] == 1


def test_coefficients() -> None:
    fluxes = FluxMatrix(np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3, 2)), (50, 50))

    def of(**more: Any) -> str:
        two, three = np.ones(2), np.ones(3)
        values = {
            "coefficient": two, "coefficient_uncertainty": two, "scatter": two, "level": three, "level_error": three,
            "intrinsic_scatter": three, "used": np.ones((2, 3), bool), "status": CONVERGED,
        }  # fmt: skip
        return refused("lcf_normalizations", "solve", NormalizationSolution(**values | more), fluxes)

    assert of(coefficient=np.array([1.0, -0.5])) == "a coefficient of -0.5; it must be above 0"
    assert of(coefficient_uncertainty=np.array([0.1, np.nan])).startswith("uncertainties of coefficients with 1 of 2")
    assert of(coefficient=np.full(2, np.nan)) == "coefficients, none of them finite"
    assert of(coefficient_uncertainty=np.array([0.1, -1.0])).startswith("coefficient_uncertainty with 1 negative")
    fluxes = attrs.evolve(fluxes, region_xy=np.zeros((2, 2, 2)))
    regions = np.array([[1.0, np.nan], [1.0, -0.2]])
    found = {"region_coefficient": regions, "region_coefficient_uncertainty": np.full((2, 2), 0.1)}
    assert of(**found) == "a coefficient of -0.2; it must be above 0"
    assert of(**found | {"region_coefficient": np.ones(2)}) == "region_coefficient of shape (2,); (2, 2) is needed"
    found["region_coefficient"] = np.ones((2, 2))
    assert of(**found | {"region_coefficient_uncertainty": np.full((2, 2), -0.1)}).startswith(
        "region_coefficient_uncertainty with 4 negative values"
    )
    assert of(**found | {"region_coefficient_uncertainty": np.full((2, 2), np.nan)}).startswith(
        "uncertainties of coefficients with 4 of 4"
    )


def test_regions() -> None:
    e, k = 3, 2
    stack = np.zeros((e, 5, 5))
    cutouts = Cutouts(
        stack, stack + 1, stack > 1, Kernels(np.stack([KERNEL] * e), 2, 2.0), np.zeros((e, 2, 3)), np.zeros((e, 2, 2)),
        np.zeros(e), np.ones(e), np.ones(e), np.zeros(e),
    )  # fmt: skip
    sources = PointSources(("A", "B"), np.zeros((k, 2)))

    def of(**more: Any) -> str:
        values = {
            "flux": np.ones((e, k)), "covariance": np.tile(np.eye(k), (e, 1, 1)),
            "common_covariance": np.zeros((e, k, k)), "offset": np.zeros((k, 2)), "offset_covariance": np.eye(2 * k),
            "translation": np.zeros((e, 2)), "high_resolution": HighResolution(KERNEL, KERNEL, np.zeros((2, 3))),
            "model": stack, "outliers": stack > 1, "reduced_chi2": np.ones(e), "status": CONVERGED,
        }  # fmt: skip
        return refused("lcf_roi_models", "fit", RoiFit(**values | more), cutouts, sources)

    assert of(flux=np.full((e, k), np.nan)) == "fluxes, none of them finite"
    assert of(covariance=-np.tile(np.eye(k), (e, 1, 1))).startswith("variances in covariance with 6 negative values")
    assert of(flux=np.ones((k, e))) == "flux of shape (2, 3); (3, 2) is needed"


@pytest.mark.parametrize(
    ("hook", "method", "answer", "arguments", "words"),
    [
        ("lcf_header_parsers", "parse", "mine", ({}, None), "a str; HeaderInfo or Mapping is needed"),
        ("lcf_cosmic_maskers", "mask", np.zeros((1, 4, 4)), (np.zeros((1, 4, 4)), None), "a mask of type float64"),
        ("lcf_background_estimators", "estimate", (IMAGE + np.nan, 1.0), (IMAGE, None), "a sky with 16"),
        ("lcf_background_estimators", "estimate", (IMAGE, -1.0), (IMAGE, None), "an rms with 1 neg"),
        ("lcf_comparison_stars", "choose", np.array([0, 0]), ([1, 2, 3], 2), "an index twice"),
        ("lcf_comparison_stars", "choose", np.array([0, 3]), ([1, 2, 3], 2), "indices from 0 to 3 of 3 stars"),
        ("lcf_comparison_stars", "choose", np.array([0, 1, 2]), ([1, 2, 3], 2), "3 stars where at most 2 are wanted"),
        ("lcf_plate_solvers", "solve", None, (), "None; PlateSolution or NotSolved is needed"),
        ("lcf_reductions", "reduce", np.zeros((4, 4)), (np.zeros((4, 4)),), "a ndarray; (image, flags) is needed"),
        ("lcf_setting_rules", "decide", [1], (), "a int; Decision is needed"),
    ],
)  # fmt: skip
def test_other_answers(hook: str, method: str, answer: Any, arguments: tuple[Any, ...], words: str) -> None:
    assert refused(hook, method, answer, *arguments).startswith(words)
