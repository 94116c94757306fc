"""The page for referees names checks that there are, and figures that the pages have which say how to get them."""

from __future__ import annotations

import re

import pages
import pytest

PAGE = pages.read("referees.md")
CHECKS = [row for row in pages.section(PAGE, "How each was checked").table()]

#: Words of the page for referees; the page of the figures; the cells of the row that holds them.
FIGURES = [
    ("pull 1.00 (`joint`), 1.01 (`starred`)", "roi_models.md",
     "joint | 40 | 10.8 | 10.5 | 1.03 | 6 | 10 | 0.62 | 1.00"),
    ("pull 1.00 (`joint`), 1.01 (`starred`)", "roi_models.md",
     "starred, `sky_prior = 0` | 40 | 11.0 | 10.5 | 1.05 | 6 | 29 | 0.73 | 1.01"),
    ("ratio 1.03 and 1.05", "roi_models.md", "joint | 40 | 10.8 | 10.5 | 1.03"),
    ("ratio 1.03 and 1.05", "roi_models.md", "starred, `sky_prior = 0` | 40 | 11.0 | 10.5 | 1.05"),
    ("offset over stated 0.62 (`joint`), 0.73 (`starred`)", "roi_models.md", "6 | 29 | 0.73"),
    ("pull 1.00 and 1.01", "roi_models.md", "joint | 0.35 | 12 | 13.7 | 11.1 | 1.23 | 9 | 47 | 1.02 | 1.00"),
    ("pull 1.00 and 1.01", "roi_models.md", "starred | 0.35 | 12 | 14.0 | 11.1 | 1.26 | 18 | 64 | 0.97 | 1.01"),
    ("10 of 10 within 1.2 times the limit plus 1 mmag; pull 0.96, against truth 1.03", "benchmarks.md",
     "40, 10 | 10 of 10 | 10 of 10 | 0.96 | 1.03"),
    ("within 1.2 times the limit plus 1 mmag", "benchmarks.md", "within 1.2 times the photon limit plus 1 mmag"),
    ("-4 to +10 mmag, with errors of 3 to 7", "benchmarks.md", "-4 to +10 mmag, with errors of 3 to 7"),
    ("scatter 1.14 of the bound, pull 1.00 (`starred`)", "benchmarks.md",
     "`starred`, rms (offset: median) | 16.4 | 14.4 | 1.14 | -0.010 | 18.9 | 1.00"),
    ("out of transit 4.6 ppt, stated 4.5; pull 1.00", "hatp32.md", "scatter out of transit | 4.6 ppt"),
    ("out of transit 4.6 ppt, stated 4.5; pull 1.00", "hatp32.md", "stated error out of transit | 4.5 ppt"),
    ("out of transit 4.6 ppt, stated 4.5; pull 1.00", "hatp32.md", "pull out of transit | 1.00"),
    ("no higher in 12 of 12 frames", "benchmarks.md", "ours is no higher | in 12 of 12 frames"),
    ("less than five frames or four stars", "numerics.md", "fewer than four stars, or five frames"),
]  # fmt: skip


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(("words", "page", "figure"), FIGURES, ids=[f[2][:40] for f in FIGURES])
def test_figures_are_those_of_the_pages(words: str, page: str, figure: str) -> None:
    assert words in _flat(PAGE)
    assert figure in _flat(pages.read(page))


@pytest.mark.parametrize("row", CHECKS, ids=[row[0] for row in CHECKS])
def test_what_holds_a_claim_is_there(row: list[str]) -> None:
    held = re.findall(r"`([^`]+)`", row[3])
    assert held
    path = ""
    for name in held:
        file, _, function = name.partition("::")
        path = file or path
        text = pages.read(path)
        assert not function or f"def {function}(" in text, name


@pytest.mark.parametrize("row", CHECKS, ids=[row[0] for row in CHECKS])
def test_a_claim_with_a_figure_has_it_compared(row: list[str]) -> None:
    if re.search(r"\d", row[2]) and "](" not in row[2]:
        assert any(words in row[2] for words, _, _ in FIGURES), row[2]


def test_errors_are_columns() -> None:
    columns = pages.read("data_at_rest.md")
    for row in pages.section(PAGE, "What the errors mean").table():
        for name in re.findall(r"`([^`]+)`", row[0]):
            assert name in columns or f"`{name.removeprefix('<S>_')}`" in columns, name
