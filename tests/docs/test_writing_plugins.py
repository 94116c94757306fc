"""docs/writing_plugins.md works as it is printed: its commands are run and its files are written, in their order."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs
import fresh_environment
import pages
import pytest
import tomli
from astropy.io.fits import Header

import lcframework.testing
from lcframework.plugin_kit.kinds import KINDS
from lcframework.plugins import Plugins
from lcframework.types import Severity, UnusableInput

PAGE = pages.read("writing_plugins.md")


@attrs.frozen
class Block:
    """A fenced block; `file` is the one that it is, or a part of which it is."""

    language: str
    text: str
    file: str = ""
    whole: bool = True


def blocks() -> list[Block]:
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        language, text = match[1], match[2]
        named = re.match(r"# (in )?(\S+\.(?:py|toml))\n", text) if language in ("python", "toml") else None
        if named is None:
            found.append(Block(language, text))
        else:
            whole = not named[1]
            found.append(Block(language, text if whole else text[named.end() :], named[2], whole))
    return found


FILES = {Path(b.file).name: b.text for b in blocks() if b.file and b.whole}


@pytest.mark.slow
def test_the_page_as_a_script(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="pip install hatchling: packages are built by it")
    shell = fresh_environment.make(tmp_path / "environment", tmp_path)
    printed = ""
    for block in blocks():
        if block.language == "sh":
            printed = shell(block.text)
        elif block.file and block.whole:
            (tmp_path / block.file).write_text(block.text)
        elif block.file:
            assert block.text.rstrip() in (tmp_path / block.file).read_text(), block.file
        elif not block.language:
            said = [" ".join(line.split()) for line in printed.splitlines()]
            for line in block.text.splitlines():
                assert any(" ".join(line.split()) in other for other in said), f"{line}\nis not in\n{printed}"
    assert "left" not in printed
    checked = shell("lcf plugins check hilltop --frames raw && lcf plugins check ownfilter --project project.toml")
    assert checked.count("passed ") == 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with every Python file of the page, importable."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield tmp_path
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)


def imported(name: str) -> ModuleType:
    return importlib.import_module(Path(name).stem)


def test_every_block_of_python_is_a_file_or_a_part_of_one() -> None:
    assert all(b.file for b in blocks() if b.language == "python")


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("test_")])
def test_the_printed_tests_pass(name: str, folder: Path) -> None:
    tests = [value for key, value in vars(imported(name)).items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_traps_in_headers_are_stopped(folder: Path) -> None:
    traps = imported("traps.py")
    assert traps.common_gain(Header({"GAINA": 3.68, "GAINB": 3.62})) == pytest.approx(3.65)
    for cards, why in (({"GAINA": 3.68, "GAINB": 3.0}, "trim_section"), ({"GAIN": 3.6}, "hdu_data")):
        with pytest.raises(UnusableInput, match=why):
            traps.common_gain(Header(cards))
    assert traps.filter_of(Header({"FILTER": "VR DECam c0007 6300.0"})) == "VR"
    assert traps.filter_of(Header()) == ""
    eleven = Header({"DATE-OBS": "2024-03-02T06:00:00", "TIMEZONE": 11.0})  # of New South Wales in summer
    assert traps.start_utc(eleven) == (pytest.approx(60370.0 + 19.0 / 24.0), ())
    mjd, (doubt,) = traps.start_utc(Header({"DATE-OBS": "2024-03-02T06:00:00"}))
    assert (mjd, doubt.kind, doubt.severity) == (pytest.approx(60371.25), "local_time", Severity.SERIOUS)


def test_a_saved_header_is_read_back_as_the_page_says(tmp_path: Path) -> None:
    saved = tmp_path / "hilltop.txt"
    header = Header(
        [("INSTRUME", "HILLCAM", "camera"), ("EPERADU", 1.6, "[e-/ADU]"), ("MIDTIME", "2024-03-01T02:00:00")]
    )
    saved.write_text(header.tostring(sep="\n"))
    assert repr(Header.fromstring(saved.read_text(), sep="\n")) == repr(header)


def test_the_stage_is_healthy(folder: Path) -> None:
    plugins = Plugins([("stage-period", "here", lambda: imported("lcf_period.py"))])
    assert plugins.plugins[0].healthy
    assert plugins.names("lcf_stages") == ["period"]


def test_the_printed_project_is_toml() -> None:
    assert tomli.loads(FILES["project.toml"])["calibration"]["ownfilter"] == {"slope": 0.065}


def test_the_page_names_every_kind_and_every_check() -> None:
    kinds = re.search(r"KIND is (.*?)\. NAME", PAGE, re.DOTALL)
    assert kinds is not None
    assert re.findall(r"`(\w+)`", kinds[1]) == [k.word for k in KINDS]
    named = set(re.findall(r"`(check_\w+)`", PAGE))
    assert named == {n for n in lcframework.testing.__all__ if n.startswith("check_")}
