"""The pictures of the README and of the pages: used, small, and those that the programs in docs/pictures make."""

from __future__ import annotations

import re
from pathlib import Path

import pages
import programs
import pytest
from PIL import Image

from lcframework.report import KINDS
from lcframework.stages import CHAIN

IMAGES = pages.DOCS / "images"
USERS = [pages.ROOT / "README.md", *pages.DOCS.glob("*.md")]
FOLDERS = {"sources": "sources", "footprints": "footprints.jpg", "psf": "PSFs", "star_photometry": "star_photometry",
           "normalization": "normalization", "roi": "ROI", "light_curves": "light_curves", "charts": "finding_charts",
           "print": "light_curves/<roi>.pdf"}  # fmt: skip


def _used() -> set[Path]:
    return {
        (path.parent / name).resolve()
        for path in USERS
        for name in re.findall(r"[\w/.-]*images/[\w/.-]+", path.read_text(encoding="utf-8"))
    }


def test_pages_use_pictures_that_there_are() -> None:
    assert [p for p in _used() if not p.exists()] == []


def test_each_is_used_and_made_by_the_program() -> None:
    names = programs.program("docs/pictures", "make_pictures").pictures()
    made = {IMAGES / f"{name}.{'svg' if name == 'pipeline' else 'webp'}" for name in names}
    kept = {p for p in IMAGES.rglob("*") if p.is_file()}
    assert kept == made
    assert {p for p in kept if p.parent.name != "stages"} == _used()


def test_they_are_small() -> None:
    sizes = {p.name: p.stat().st_size for p in IMAGES.rglob("*") if p.is_file()}
    assert max(sizes.values()) <= 150_000
    assert sum(sizes.values()) <= 1_500_000


def test_the_pipeline_is_that_of_the_stages() -> None:
    drawn = (IMAGES / "pipeline.svg").read_text(encoding="utf-8")
    now = programs.program("docs/pictures", "make_pictures").pipeline_with_pictures()
    assert drawn == now, "run `python docs/pictures/make_pictures.py pipeline`"
    for stage in CHAIN:
        assert f">{stage.title}<" in drawn
    assert drawn.count("<image ") == len(list((IMAGES / "stages").glob("*.webp")))


def test_every_kind_of_plot_is_explained() -> None:
    page = pages.read("plots.md")
    assert set(FOLDERS) == set(KINDS)
    assert [k for k in KINDS if f"`plots/{FOLDERS[k]}" not in page] == []


def test_every_picture_says_what_it_shows() -> None:
    for path in USERS:
        text = path.read_text(encoding="utf-8")
        shown = len(re.findall(r"^:*`*\{figure\} ", text, re.MULTILINE))
        assert len(re.findall(r"^:alt: \S", text, re.MULTILINE)) == shown, path.name
        assert "![](" not in text


@pytest.mark.parametrize("path", sorted(IMAGES.rglob("*.webp")), ids=lambda p: p.stem)
def test_they_are_pictures(path: Path) -> None:
    with Image.open(path) as image:
        assert image.format == "WEBP"
        assert 100 <= image.width <= 1000
        darkest, brightest = image.convert("L").getextrema()
        assert brightest - darkest > 100
