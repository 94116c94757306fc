"""Header plugins that are written from frames: they read these frames, and no others, and say what is doubtful."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from lcframework.header_doctor import default_parsers, examine
from lcframework.plugin_kit.header_module import header_module
from lcframework.plugins import Plugins

GAIN, MJD = 2.5, 60370.0854629630
UNKNOWN = {
    "exposure under another name": {"T_SHUTTR": 60.0, "GAIN": GAIN, "DATE_OBS": "2024-03-01T02:03:04"},
    "time under another name": {"EXPTIME": 60.0, "GAIN": GAIN, "SHOTAT": "2024-02-29T19:03:04-0700"},
    "julian date of its own": {"EXPTIME": 60.0, "GAIN": GAIN, "JD_HJD": 2460370.5854629627},
    "nothing named": {"ITIME_S": 60.0, "E_GAIN": GAIN, "MJD_SHOT": 60370.0854629630},
    "milliseconds": {"EXPO_MS": 60000, "E_GAIN": GAIN, "MJD_SHOT": 60370.0854629630},
    "date and clock": {"EXPOSED": 60.0, "GAIN": GAIN, "DATE-OBS": "2024-03-01", "UTSTART": "2:03:04"},
    "long keywords": {
        "HIERARCH EXPO DET WIN1": 60.0,
        "HIERARCH ESO DET OUT1 CONAD": GAIN,
        "MJD-OBS": 60370.0854629630,
        "CAMERA": "C:\\Users\\new {1}",
    },
}


def night(folder: Path, cards: dict[str, Any], named: bool = True) -> Path:
    rng = np.random.default_rng(4)
    folder.mkdir()
    who = {"TELESCOP": "Old 40-inch", "INSTRUME": 'The "Eye"'} if named else {}
    for i in range(2):
        image = (rng.normal(800.0, np.sqrt(800.0 / GAIN), (120, 120)) + 100).astype(np.uint16)
        fits.PrimaryHDU(image, fits.Header({**who, **cards})).writeto(folder / f"{i}.fits")
    return folder


def loaded(path: Path, name: str, patch: pytest.MonkeyPatch) -> Plugins:
    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    plugins = Plugins([(f"header-{name}", "here", load)])
    return plugins


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("cards", UNKNOWN.values(), ids=UNKNOWN)
def test_a_parser_of_a_nights_frames(cards: dict[str, Any], named: bool, tmp_path: Path, lcf: Callable[..., Any],
                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    raw = night(tmp_path / "raw", cards, named)
    if named:
        ended = lcf("headers", raw, "--no-gain")
        assert f"`lcf plugins new header NAME --frames {raw}` writes a parser" in ended.out
    ended = lcf("plugins", "new", "header", "forty", "--frames", raw, "--into", tmp_path)
    assert ended.code == 0, ended.err
    folder = tmp_path / "lcf-forty"
    plugins = loaded(folder / "lcf_forty.py", "forty", monkeypatch)
    assert plugins.plugins[0].problems == []
    (group,) = examine(raw, "*.fits", default_parsers(plugins, raw), measure=False)
    info = group.files[0].info
    assert info is not None, group.reasons
    assert info.exptime == 60.0
    assert info.gain == pytest.approx(GAIN)
    assert info.mjd == pytest.approx(MJD, abs=1e-3 / 86400)
    parser = plugins.get("lcf_header_parsers", "forty").cls()
    assert parser.parse(fits.Header(), raw) is None
    assert parser.parse(fits.Header([("TELESCOP", "other"), ("EXPTIME", 1.0)]), raw) is None
    spec = importlib.util.spec_from_file_location("its_test", folder / "tests" / "test_lcf_forty.py")
    assert spec is not None
    assert spec.loader is not None
    its_test = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(its_test)
    its_test.test_a_frame_is_read()
    its_test.test_frames_of_others_are_declined()


def text_for(*cards: Any) -> str:
    return header_module([fits.Header([("INSTRUME", "Eye"), *cards])], "eye", "Eye", "lcf_eye").module


@pytest.mark.parametrize(
    ("card", "reads", "check"),
    [
        (("EXPTIME", 60.0), '_number(header, "EXPTIME"),', ""),
        (("EXPTIME", 60000.0, "exposure time in ms"), '_number(header, "EXPTIME") / 1000.0,', ""),
        (("EXPTIME", 1.0, "[min] exposure"), '_number(header, "EXPTIME") * 60.0,', ""),
        (("EXPO_MS", 60000), '_number(header, "EXPO_MS") / 1000.0,', "CHECK: milliseconds, as its name"),
        (("SHUTTER", 60.0), '_number(header, "SHUTTER"),', "CHECK: in seconds?"),
        (("SHUTTER", 60.0, "[s] open"), '_number(header, "SHUTTER"),', ""),
    ],
)
def test_the_unit_of_the_exposure(card: Any, reads: str, check: str) -> None:
    others = ("GAIN", 1.5, "e-/ADU"), ("DATE-OBS", "2024-03-01T02:03:04", "start of exposure")
    lines = text_for(card, *others).splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.strip().startswith("exptime=")]
    assert lines[at].strip() == f"exptime={reads}"
    assert ("CHECK" in lines[at - 1]) == bool(check)
    assert check in lines[at - 1]


def test_what_the_header_does_not_say_is_to_be_looked_at() -> None:
    text = text_for(("GAIN", 1.5), ("DATE-OBS", "2024-03-01T02:03:04"), ("JD", 2460370.5))
    for words in ("is DATE-OBS the start of the exposure?", "JD are there too", "the camera's setting, or its inverse",
                  "no keyword looks like it; it is an option", "no other telescope's"):  # fmt: skip
        assert words in " ".join(text.split())
    sure = text_for(("GAIN", 1.5, "[e-/ADU]"), ("EXPTIME", 3.0), ("DATE-BEG", "2024-03-01T02:03:04"))
    assert sure.count("CHECK: ") == 1  # the claims


def test_no_parser_where_all_is_known(tmp_path: Path, lcf: Callable[..., Any]) -> None:
    raw = night(tmp_path / "raw", {"EXPTIME": 60.0, "GAIN": GAIN, "DATE-OBS": "2024-03-01T02:03:04"})
    ended = lcf("plugins", "new", "header", "forty", "--frames", raw, "--into", tmp_path)
    assert ended.code == 1
    assert "installed parsers read every file" in ended.err
    assert not (tmp_path / "lcf-forty").exists()
