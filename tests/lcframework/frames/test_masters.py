"""Files of master frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lcframework.frames.masters import read_masters, write_master
from lcframework.frames.reduction import FramePlan, MasterFile
from lcframework.types import Master
from lcframework.work import MasterKey


@pytest.mark.parametrize(("exptime", "noise"), [(120.0, 1.25), (None, float("nan"))])
def test_a_master_is_read_as_it_was_made(tmp_path: Path, exptime: float | None, noise: float) -> None:
    image, bad = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32), np.eye(6, 5, dtype=bool)
    write_master(tmp_path / "master.fits", "dark", Master("dark", image, bad, exptime, ("a.fits",), noise))
    file = MasterFile(MasterKey("dark"), "dark", "master.fits", "the dark")
    [(kind, read)] = read_masters(tmp_path, FramePlan(masters=(file,))).items()
    assert (kind, read.kind, read.exptime) == ("dark", "dark", exptime)
    np.testing.assert_array_equal(read.image, image)
    np.testing.assert_array_equal(read.bad, bad)
    np.testing.assert_equal(read.noise, noise)
    assert isinstance(read.noise, float)
