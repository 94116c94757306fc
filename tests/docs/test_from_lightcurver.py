"""docs/from_lightcurver.md and `lcf init --from-lightcurver` say the same of every key."""

from __future__ import annotations

import re

import pages
import pytest

from lcframework.config.sections import SECTIONS
from lcframework.from_lightcurver import KEYS

ALL = {target for key in KEYS.values() for target in key.targets}
ROWS = pages.section(pages.read("from_lightcurver.md"), "Configuration").table()


def keys_in(cell: str) -> list[str]:
    """Return the keys of the YAML file that a row's first cell names."""
    quoted = [q.split(":")[0] for q in re.findall(r"`([^`]+)`", cell)]
    return [k for q in quoted for k in (re.split(r", ", q) if "," in q and ":" not in q else [q]) if k in KEYS]


def targets_in(cell: str) -> set[str]:
    """Return the settings, table.key, that a second cell names: ``[table] key`` and further keys of that table."""
    found, table = set(), ""
    for text in re.findall(r"`([^`]+)`", cell):
        match = re.match(r"\[([\w.-]+)\](?: ([a-z_0-9]+)(?!\.\.\.)\b)?", text)
        table, key = (match[1], match[2]) if match else (table, text.split(" ")[0])
        if key and (match or f"{table}.{key}" in ALL):
            found.add(f"{table}.{key}")
    return found


def test_the_table_has_every_key_and_no_other() -> None:
    assert {k for row in ROWS for k in keys_in(row[0])} == set(KEYS)
    first = [re.findall(r"`([^`:]+)", row[0])[0].split(",")[0] for row in ROWS]
    assert all(name in KEYS for name in first), [n for n in first if n not in KEYS]


@pytest.mark.parametrize("row", ROWS, ids=[r[0] for r in ROWS])
def test_a_row_names_what_is_written(row: list[str]) -> None:
    allowed = {t for key in keys_in(row[0]) for t in KEYS[key].targets}
    named = {t for t in targets_in(row[1]) if t.split(".")[0] in {*SECTIONS, "roi"}}
    if not row[1].startswith("none"):
        assert named <= allowed
        # Every setting that the conversion writes is in the row, by its own name or its table's.
        assert all(t in named or t.rpartition(".")[0] in row[1] or t.split(".")[0] in row[1] for t in allowed)
