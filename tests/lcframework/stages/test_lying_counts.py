"""Raw counts that are not what their headers say: mended where that is certain, else told with the frame's name."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from raw_scenes import counts

from lcframework.project import Project
from lcframework.storage.frame_files import read_frame
from lcframework.types import PixelFlag

IMPORT = "read_convert_skysub_character_catalog"


def write(folder, name, data, **cards):
    header = fits.Header({"EXPTIME": 60.0, "DATE-OBS": "2024-02-20T05:46:18", "GAIN": 1.5, **cards})
    fits.PrimaryHDU(data, header).writeto(folder / "raw" / f"{name}.fits")


def test_counts_that_are_not_what_headers_say(tmp_path):
    (tmp_path / "raw").mkdir()
    true = np.minimum(counts(), 65535)
    write(tmp_path, "clipped", true.astype(np.uint16))
    write(tmp_path, "low", np.minimum(true, 40000).astype(np.uint16), SATURATE="see log")
    write(tmp_path, "wrapped", true.astype(np.uint16).view(np.int16))
    write(tmp_path, "setting", true.astype(np.uint16), GAIN=90)
    write(tmp_path, "again", true.astype(np.uint16), GAIN=90)
    mixed = true.astype(np.uint16).view(np.int16).copy()
    mixed[:, ::17] = -700
    write(tmp_path, "mixed", mixed)
    (tmp_path / "project.toml").write_text("[roi.X]\nra = 10.0\ndec = 20.0\n[run]\nworkers = 1\n")
    project = Project.open(tmp_path / "project.toml")
    report = project.run(stop=IMPORT)
    assert not report.bugs
    (unusable,) = report.unusable
    assert "bright stars in mixed.fits hold negative counts" in unusable.reason

    found = {}
    for cause in project.doubts():
        for frame in cause.frames:
            found.setdefault(frame, []).append((cause.kind, cause.severity.value))
    assert found.pop("low.fits") == [("saturation_unreadable", "note")]
    assert found.pop("wrapped.fits") == [("wrapped_counts", "note")]
    assert found.pop("again.fits") == [("gain_setting", "doubt"), ("gain_too_large", "doubt")]
    assert found == {}

    images = {}
    for name, level in (("clipped", 65535), ("low", 40000), ("wrapped", 65535)):
        images[name], mask, _ = read_frame(tmp_path / f"frames/{name}.fits")
        np.testing.assert_array_equal((mask & PixelFlag.SATURATED) > 0, true >= level)
    np.testing.assert_array_equal(images["wrapped"], images["clipped"])
    state = {f.file: f.comment for f in project.status().frames}
    assert "again.fits: the exposure is used once" in state["setting.fits"]
