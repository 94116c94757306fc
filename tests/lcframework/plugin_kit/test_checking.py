"""`lcf plugins check` runs the suites on what is installed, and `lcf plugins` shows commands, files and addresses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from lcframework.plugin_kit.checking import _OF_INSTANCE, _suite
from lcframework.plugins import SEAMS, Offer

PARSER = """
import attrs
from lcframework.hookspecs import hookimpl
from lcframework.types import HeaderInfo, UnusableInput

@attrs.frozen
class Parser:
    careless: bool = CARELESS

    def parse(self, header, path):
        if header.get("TELESCOP") != "HILL":
            return None
        if "SHUTTER" not in header and not self.careless:
            raise UnusableInput("no SHUTTER")
        return HeaderInfo(header["SHUTTER"], 1.5, 60000.0)

@hookimpl
def lcf_header_parsers():
    return {"hill": Parser}
"""
SURVEY = """
import attrs
from astropy.table import Table
from lcframework.hookspecs import hookimpl
from lcframework.types import UnusableInput

@attrs.frozen
class Survey:
    offline: bool = False
    error: float = 0.02

    def magnitudes(self, stars, band):
        if band != "own":
            raise UnusableInput(f"there is no {band}, but own")
        return Table({"source_id": stars["source_id"], "mag": stars["magnitude"],
                      "mag_err": [self.error] * len(stars)}, meta={"system": "AB"})

@hookimpl
def lcf_calibration_surveys():
    return {"net": Survey}

@hookimpl
def lcf_event(event):
    return None
"""
BACKGROUND = """
import attrs
from lcframework.hookspecs import hookimpl
from lcframework.types import UnusableInput

@attrs.frozen
class Shy:
    def estimate(self, image, mask):
        raise UnusableInput("too bright for me")

@hookimpl
def lcf_background_estimators():
    return {"shy": Shy}

@hookimpl
def lcf_event(event):
    return None
"""
COMMAND = """
import click
from lcframework.hookspecs import hookimpl

@click.command("hello")
@click.option("--loud", is_flag=True)
def hello(loud):
    "Say hello."

@hookimpl
def lcf_commands():
    return {"hello": hello}
"""


@pytest.mark.parametrize("seam", SEAMS, ids=lambda s: s.hook)
def test_every_seam_has_a_suite(seam: Any) -> None:
    if seam.hook not in _OF_INSTANCE:
        assert _suite(Offer(seam.hook, "x", dict, "x", "x 1"), None)[0].startswith("check_")  # type: ignore[arg-type]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, telescope in (("a", "HILL"), ("b", "OTHER")):
        header = fits.Header([("TELESCOP", telescope), ("SHUTTER", 30.0)])
        fits.PrimaryHDU(np.zeros((20, 20), np.int16), header).writeto(folder / f"{name}.fits")
    return folder


def test_a_parser_on_its_own_frames(install: Any, lcf: Callable[..., Any], frames: Path) -> None:
    install("lcf-hill", PARSER.replace("CARELESS", "False"), {"header-hill": "lcf_hill"})
    ended = lcf("plugins", "check", "hill", "--frames", frames)
    assert (ended.code, "passed   [header] hill: check_header_parser" in ended.out) == (0, True), ended.out
    assert "it reads 1 of 2 files" in ended.out
    ended = lcf("plugins", "check", "hill")
    assert ended.code == 0
    assert "--frames FOLDER checks how it reads its own" in ended.out
    (frames / "a.fits").unlink()
    ended = lcf("plugins", "check", "lcf-hill", "--frames", frames)
    assert "FAILED   [header] hill" in ended.out
    assert "declined (None) each of the 1 files" in ended.out


def test_a_parser_that_fails_without_its_own_keyword(install: Any, lcf: Callable[..., Any], frames: Path) -> None:
    install("lcf-hill", PARSER.replace("CARELESS", "True"), {"header-hill": "lcf_hill"})
    ended = lcf("plugins", "check", "hill", "--frames", frames, "--json")
    assert ended.code == 1
    (row,) = json.loads(ended.out)
    assert row["outcome"] == "failed"
    assert "a header without SHUTTER: raised KeyError" in row["text"]


def test_a_file_that_a_parser_refuses_leaves_the_others_checked(
    install: Any, lcf: Callable[..., Any], frames: Path
) -> None:
    bare = fits.Header([("TELESCOP", "HILL")])
    fits.PrimaryHDU(np.zeros((20, 20), np.int16), bare).writeto(frames / "0.fits")
    install("lcf-hill", PARSER.replace("CARELESS", "False"), {"header-hill": "lcf_hill"})
    ended = lcf("plugins", "check", "hill", "--frames", frames)
    assert (ended.code, "passed   [header] hill" in ended.out) == (0, True), ended.out
    assert "it reads 1 of 3 files; it refused 1, the first of them 0.fits: no SHUTTER" in ended.out
    (frames / "a.fits").unlink()
    ended = lcf("plugins", "check", "hill", "--frames", frames)
    assert ended.code == 1
    assert "declined (None) each of the 1 files; it refused 1, the first of them 0.fits: no SHUTTER" in ended.out


def test_a_parser_that_refuses_all_but_its_own_is_not_run_without_frames(install: Any, lcf: Callable[..., Any]) -> None:
    strict = PARSER.replace("CARELESS", "False").replace("return None\n", 'raise UnusableInput("not of the HILL")\n', 1)
    install("lcf-hill", strict, {"header-hill": "lcf_hill"})
    ended = lcf("plugins", "check", "hill")
    assert "NOT RUN  [header] hill" in ended.out
    assert "not of the HILL; give --frames with its own" in ended.out


def test_a_plugin_that_refuses_every_frame_fails(install: Any, lcf: Callable[..., Any]) -> None:
    install("lcf-shy", BACKGROUND, {"background-shy": "lcf_shy"})
    ended = lcf("plugins", "check", "background-shy")
    assert "passed   lcf_event" in ended.out  # what passes does not hide it
    assert ended.code == 1
    assert "FAILED   [background] shy" in ended.out
    assert "it refuses what it must be able to use: too bright for me" in ended.out


def test_a_survey_by_a_project_and_only_then_the_network(install: Any, lcf: Callable[..., Any], tmp_path: Path) -> None:
    install("lcf-net", SURVEY, {"survey-net": "lcf_net"})
    ended = lcf("plugins", "check", "net")
    assert "NOT RUN  [calibration] net" in ended.out
    assert "give --network to ask them" in ended.out
    assert "check_listener" not in ended.out  # the name is the survey's; that of the entry point means both
    ended = lcf("plugins", "check", "survey-net", "--network")
    assert "there is no r_sdss, but own; give --project" in ended.out
    assert "passed   lcf_event: check_listener" in ended.out
    project = tmp_path / "project.toml"
    project.write_text('[roi.R]\nra = 10.0\ndec = 5.0\n[calibration]\nplugin = "net"\nband = "own"\n')
    ended = lcf("plugins", "check", "net", "--network", "--project", project)
    assert (ended.code, "passed   [calibration] net" in ended.out) == (0, True), ended.out
    project.write_text(project.read_text() + "[calibration.net]\nerror = -0.02\n")
    ended = lcf("plugins", "check", "net", "--network", "--project", project)
    assert ended.code == 1
    assert "mag_err = -0.02" in ended.out


def test_commands_are_listed_shown_and_checked(install: Any, lcf: Callable[..., Any]) -> None:
    folder = install("lcf-hello", COMMAND, {"command.hello": "lcf_hello", "command.other": "lcf_hello"})
    (folder / "lcf_hello-1.5.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lcf-hello\nVersion: 1.5\nProject-URL: Homepage, https://example.org/hello\n"
        "Project-URL: Issues, https://example.org/hello/issues\n"
    )
    ended = lcf("plugins")
    assert ended.code == 1
    assert "lcf-hello 1.5  command hello" in ended.out
    assert "lcf_commands gives no command other, which the entry point names; it gives hello" in ended.out
    ended = lcf("plugins", "hello")
    assert "homepage: https://example.org/hello\n  issues: https://example.org/hello/issues" in ended.out
    assert f"{folder / 'lcf_hello.py'}, imported in" in ended.out
    assert "lcf hello: Say hello." in ended.out
    ended = lcf("plugins", "check", "hello")
    assert ended.code == 1
    assert "hello: the option --loud has no help" in ended.out
    told = {p["name"]: p for p in json.loads(lcf("plugins", "--json").out)}
    assert told["command.hello"]["commands"] == ["hello"]
    assert told["command.hello"]["issues"] == "https://example.org/hello/issues"
    assert told["command.other"]["problems"]
    assert told["psf-starred"]["file"].endswith("psf_models/starred.py")


def test_an_unknown_name_suggests(lcf: Callable[..., Any]) -> None:
    ended = lcf("plugins", "check", "stared")
    assert ended.code == 1
    assert 'no installed plugin is called "stared"; did you mean "starred"?' in ended.err
