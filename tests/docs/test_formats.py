"""Formats of light curves: the pages name those that there are."""

from __future__ import annotations

import re

import pages

FORMATS = set(pages.builtin_plugins().names("lcf_exporters"))


def test_the_table_of_formats_has_them_all() -> None:
    rows = [line for line in pages.read("exports.md").splitlines() if re.match(r"\| `[a-z-]+` \| [^`]", line)]
    assert sorted(re.findall(r"^\| `([a-z-]+)`", "\n".join(rows), re.MULTILINE)) == sorted(FORMATS)


def test_those_that_come_from_other_programs_are_told_formats_that_there_are() -> None:
    page = pages.read("coming_from.md")
    table = pages.section(page, "Sending the result").table()
    named = {name for _, names in table for name in re.findall(r"`([^`]+)`", names)}
    named |= set(re.findall(r"the exporter `([^`]+)`", page))
    assert named <= FORMATS
    assert {"aavso-exoplanet", "pycs", "exoclock"} <= named
