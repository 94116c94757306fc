from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.io import fits

from lcframework.frames.raw_frames import RawFrame
from lcframework.frames.stored_numbers import Storage
from lcframework.injections.drawing import Drawing, ImportDrawn
from lcframework.injections.response import even
from lcframework.injections.star_light import HeldOutStars
from lcframework.stages.read_convert_skysub_character_catalog import RawValues
from lcframework.types import DataUnit, Exposure, HeaderInfo, UnusableInput

SHAPE = (60, 80)
INTEGERS = Storage(16, 32768.0)
INFO = HeaderInfo(exptime=50.0, gain=2.5, mjd=60000.0, instrument="cam")
RAW = np.full(SHAPE, 1000.0, np.float32)
FLAT = 0.5 + np.indices(SHAPE)[1] / SHAPE[1]
PLACE = np.array([[40.3, 30.1]])


def task(reduce: Callable[[Any], Any] | None = None) -> ImportDrawn:
    def ask(method: str, image: Any, exposure: Any, masters: Any) -> Any:
        assert reduce is not None
        return reduce(image), np.zeros(image.shape, np.uint8)

    tool = SimpleNamespace(name="own", ask=ask) if reduce else None
    toolbox: Any = SimpleNamespace(tool=lambda section, instrument: tool)
    return ImportDrawn("import", toolbox)


def raw(storage: Storage = INTEGERS) -> RawValues:
    masters: Any = {"flat": object()}
    return RawValues(Path("a.fits"), RawFrame(RAW, fits.Header(), storage, ()), Exposure("a.fits"), masters)


def drawing(saturation: float = np.inf) -> Drawing:
    nothing = np.zeros(0)
    return Drawing(
        1, "", "", "", 1.0, 50.0, 4.0, saturation, HeldOutStars(nothing, nothing, nothing, even((10, 10))),
        nothing, nothing, nothing,
    )  # fmt: skip


def expected(electrons: float) -> np.ndarray:
    out = np.zeros(SHAPE)
    out[20:40, 30:50] = electrons
    return out


def counts(
    light: np.ndarray, reduce: Callable[[Any], Any] | None = None, saturation: float = np.inf,
    info: HeaderInfo = INFO, storage: Storage = INTEGERS,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    return task(reduce)._counts(raw(storage), info, light, PLACE, drawing(saturation))


def test_electrons_become_counts_with_their_own_noise() -> None:
    image, saturated = counts(expected(1000.0))
    added = (image - RAW)[20:40, 30:50]
    assert added.mean() == pytest.approx(1000 / 2.5, abs=4 * np.sqrt(1000 / 400) / 2.5)
    assert added.std() == pytest.approx(np.sqrt(1000) / 2.5, rel=0.15)
    np.testing.assert_array_equal(image % 1, 0)  # whole numbers, as the file has
    np.testing.assert_array_equal(image[:20], RAW[:20])
    assert not saturated.any()


@pytest.mark.parametrize(("unit", "factor"), [(DataUnit.ELECTRON, 1.0), (DataUnit.ADU_PER_SECOND, 2.5 * 50.0),
                                              (DataUnit.ELECTRON_PER_SECOND, 50.0)])  # fmt: skip
def test_other_units(unit: DataUnit, factor: float) -> None:
    image, _ = counts(expected(1e6), info=attrs.evolve(INFO, data_unit=unit), storage=Storage(-32))
    assert (image - RAW)[20:40, 30:50].mean() == pytest.approx(1e6 / factor, rel=1e-3)


def test_what_the_flat_takes_off_is_put_on() -> None:
    image, _ = counts(expected(50_000.0), lambda raw: (raw - 300.0) / FLAT)
    reduced = ((image - RAW) / FLAT)[20:40, 30:50]
    assert reduced.mean() == pytest.approx(50_000 / 2.5, rel=1e-3)
    # Electrons fall on the pixel, not on the reduced one: a pixel of half the sensitivity has half of them.
    column = ((image - RAW)[20:40, 30:50]).mean(axis=0)
    np.testing.assert_allclose(column / FLAT[0, 30:50], 50_000 / 2.5, rtol=5e-3)


def test_an_overscan_is_no_part_of_it() -> None:
    image, _ = counts(expected(50_000.0), lambda raw: raw - np.mean(raw[:, :5]))
    assert (image - RAW)[20:40, 30:50].mean() == pytest.approx(50_000 / 2.5, rel=1e-3)


def test_saturation() -> None:
    image, saturated = counts(expected(1e5), saturation=20_000.0)
    assert image.max() == 20_000
    assert saturated.all()
    image, saturated = counts(expected(1e6))
    assert image.max() == 65535
    assert saturated.all()


def test_a_reduction_that_is_not_in_proportion_is_refused() -> None:
    with pytest.raises(UnusableInput, match='"own" does not answer to added counts in proportion'):
        counts(expected(1e5), lambda raw: np.sqrt(raw) * 100)


def test_noise_repeats_with_the_seed() -> None:
    np.testing.assert_array_equal(counts(expected(100.0))[0], counts(expected(100.0))[0])
