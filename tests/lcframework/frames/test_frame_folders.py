"""The folders of frames' files."""

from __future__ import annotations

import pytest

from lcframework.frames.frame_folders import FLAT, folder_of


@pytest.mark.parametrize(
    ("mjd", "longitude", "night"),
    [
        (60369.2, 0.0, "2024-02-28"),  # 2024-02-29, five in the morning: of the night before
        (60369.8, 0.0, "2024-02-29"),
        (60369.2, -70.4, "2024-02-28"),
        (60369.6, -70.4, "2024-02-28"),  # 14:24 UTC is before noon in Chile
        (60369.6, 150.0, "2024-02-29"),
        (60368.6, 150.0, "2024-02-28"),  # 14:24 UTC of the 28th is past midnight in Australia
    ],
)
def test_later_frames_have_a_folder_for_each_night(mjd, longitude, night):
    assert folder_of(FLAT + 1, mjd, longitude) == night
    assert folder_of(FLAT, mjd, longitude) == ""
