"""A map of hot pixels that is applied is in the fingerprints of the stamps, also where it is not made again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.work import Entry, HotPixelsKey, Ledger, OwnAsked

NAME = StampExtraction.name


def stage(hot_pixels: str) -> Any:
    made = StampExtraction()
    settings = SimpleNamespace(stamps=SimpleNamespace(hot_pixels=hot_pixels))
    made.toolbox = SimpleNamespace(config_for=lambda instrument: settings)  # type: ignore[assignment]
    return made


@pytest.mark.parametrize(
    ("hot_pixels", "tokens", "asked"),
    [("auto", {"camera": "token"}, OwnAsked.PRODUCTS), ("", {}, OwnAsked.NOTHING)],
)
def test_the_token_of_a_map_that_is_there(hot_pixels: str, tokens: dict[str, str], asked: OwnAsked) -> None:
    unit = str(HotPixelsKey("camera"))
    known = Entry(NAME, unit, "fingerprint", 2, "token", "made", "", "hot_pixels.h5", 1.0)
    ledger = Ledger({NAME: {unit: known}}).seen_by(NAME, StampExtraction.needs)
    assert stage(hot_pixels)._maps(ledger, ["camera"]) == tokens
    assert ledger.own_asked == asked
