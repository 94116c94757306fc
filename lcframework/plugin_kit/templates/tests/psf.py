import numpy as np

from lcframework.plugin_kit.templates.psf import PluginClass
from lcframework.testing import check_psf_model
from lcframework.types import PsfBatch


def test_it_finds_the_psf_of_simulated_stars() -> None:
    check_psf_model(PluginClass())


def test_a_frame_without_a_usable_star_fails_with_a_reason() -> None:
    shape = (1, 2, 16, 16)
    nothing = PsfBatch(
        np.zeros(shape), np.ones(shape), np.ones(shape, bool), np.zeros((1, 2, 2)), np.zeros((1, 2, 2)),
        np.array([3.0]), (100, 100),
    )  # fmt: skip
    (psf,) = PluginClass().fit(nothing)
    assert not psf.status.usable
    assert psf.status.reason
