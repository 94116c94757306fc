"""Frames are fitted together as the PSF model wants them, and the forecast is in the log."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import attrs
import pytest

from lcframework.config.toolbox import Tool
from lcframework.stages.psf_modeling import FitPsfs, PsfPayload
from lcframework.work import FrameKey, Unit


def task(instance) -> FitPsfs:
    toolbox = SimpleNamespace(
        tool=lambda section, instrument: instance and Tool(section, "here", instance, 1),
        config_for=lambda instrument: SimpleNamespace(stamps=SimpleNamespace(star_size=24)),
    )
    return FitPsfs("psf_modeling", toolbox)


def units(count: int) -> list[Unit]:
    payload = PsfPayload(0, "field", "stamps.h5", "camera", (100, 100), 3.0, ("a", "b", "c"), ("a", "b", "c"))
    wider = attrs.evolve(payload, shape=(100, 200), ids=())
    return [Unit(FrameKey(i), str(i), {}, wider if i % 5 == 0 else payload) for i in range(count)]


def test_batches_are_as_large_as_the_model_forecasts(caplog):
    asked = []

    def frames_at_once(stars: int, size: int) -> tuple[int, str]:
        asked.append((stars, size))
        return 6, "Card: 2.0 GiB free"

    with caplog.at_level(logging.INFO):
        batches = task(SimpleNamespace(frames_at_once=frames_at_once)).batches(units(25))
    # Frames of one shape go together: five of one, twenty of the other.
    assert sorted(map(len, batches)) == [2, 5, 6, 6, 6]
    assert sorted(asked) == [(1, 24), (3, 24)]
    assert "[psf] 20 frames with up to 3 stars in 4 batches. Card: 2.0 GiB free" in caplog.text


@pytest.mark.parametrize("instance", [SimpleNamespace(), None])
def test_a_model_without_a_forecast_gets_batches_of_sixteen(instance):
    made = task(instance)
    if instance is None:
        made.toolbox.tool = lambda section, instrument: None
    assert sorted(map(len, made.batches(units(25)))) == [4, 5, 16]
