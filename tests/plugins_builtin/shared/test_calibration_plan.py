"""Which kinds of calibration frames are used where those that exist decide."""

from __future__ import annotations

import attrs
import pytest

from lcframework.types import Exposure, Severity, UnusableInput
from plugins_builtin.reductions.ccdproc import OVERSCAN, Ccdproc

SETUP = (("INSTRUME", "Cam"), ("XBINNING", "1"), ("YBINNING", "1"))
SHAPE = (20, 30)


def exposure(name: str, kind: str = "light", **changes: object) -> Exposure:
    made = Exposure(name, kind, SETUP, "r" if kind in ("light", "flat") else "", 60.0, None, SHAPE)
    return attrs.evolve(made, **changes)


FRAME = exposure("a")
BIASES = [exposure(f"b{i}", "bias", exptime=0.0) for i in range(3)]
DARKS = [exposure(f"d{i}", "dark") for i in range(3)]
FLATS = [exposure(f"f{i}", "flat", exptime=3.0) for i in range(3)]
FLAT_DARKS = [exposure(f"e{i}", "dark", exptime=3.0) for i in range(3)]


def strip(*exposures: Exposure) -> list[Exposure]:
    return [attrs.evolve(e, setup=(*e.setup, (OVERSCAN, "[1:4,1:20]"))) for e in exposures]


@pytest.mark.parametrize(
    ("there", "made", "undone"),
    [
        ([], [], []),
        (BIASES, ["bias"], ["dark_not_subtracted", "flat_not_divided"]),
        (DARKS, ["dark"], ["flat_not_divided"]),
        ([*BIASES, *FLATS], ["bias", "flat"], ["dark_not_subtracted"]),
        ([*BIASES, *DARKS, *FLATS], ["bias", "dark", "flat"], []),
        ([*DARKS, *FLAT_DARKS, *FLATS], ["dark", "flat"], []),
        ([*DARKS, *FLATS], ["dark"], ["flats_unusable"]),  # nothing tells the zero level in flats of 3 s
        (FLATS, [], ["flats_unusable"]),
    ],
)  # fmt: skip
def test_the_kinds_that_exist_are_used(there, made, undone):
    assert [p.kind for p in Ccdproc().plan(FRAME, there)] == made
    doubts = Ccdproc().doubts(FRAME, there)
    assert [d.kind for d in doubts] == undone
    assert {d.severity for d in doubts if d.kind != "flats_unusable"} <= {Severity.NOTE}
    assert all(d.severity is Severity.DOUBT for d in doubts if d.kind == "flats_unusable")


def test_an_overscan_tells_the_zero_level_too():
    frame, *flats = strip(FRAME, *FLATS)
    assert [p.kind for p in Ccdproc().plan(frame, flats)] == ["flat"]
    assert Ccdproc().doubts(frame, flats) == ()
    assert [p.kind for p in Ccdproc(overscan="").plan(frame, flats)] == []


def test_a_kind_without_a_match_is_refused():
    other = [attrs.evolve(f, band="i") for f in FLATS]
    with pytest.raises(UnusableInput, match=r'there are 3 of filter i.*set use = \["bias"\] in \[reduction.ccdproc\]'):
        Ccdproc().plan(FRAME, [*BIASES, *other])
    binned = [attrs.evolve(b, setup=(SETUP[0], ("XBINNING", "2"), ("YBINNING", "2"))) for b in BIASES]
    with pytest.raises(UnusableInput, match=r'no bias matches .* set plugin = "none"'):
        Ccdproc().plan(FRAME, binned)


def test_a_choice_of_the_user_is_not_doubted():
    assert Ccdproc(use=["bias"]).doubts(FRAME, BIASES) == ()
    assert [p.kind for p in Ccdproc(use=["bias"]).plan(FRAME, [*BIASES, *FLATS])] == ["bias"]
    with pytest.raises(ValueError, match='use must be "auto", or a list of bias, dark, flat'):
        Ccdproc(use="bias")
