"""docs/project_file.md has every section and key, with its default."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import attrs
import pages
import pytest
import tomli

from lcframework.config.project_file import load
from lcframework.config.sections import SECTIONS, Roi
from lcframework.config.structuring import converter
from lcframework.plugins import SEAMS

PAGE = pages.read("project_file.md")
TABLES = {s.title: s for s in pages.sections(PAGE) if s.title.startswith("[")}


def classes() -> dict[str, type[Any]]:
    """Return every table of a project file and the class that it becomes."""
    found: dict[str, type[Any]] = {f"[{name}]": cls for name, cls in SECTIONS.items()} | {"[roi.NAME]": Roi}
    plugins = pages.builtin_plugins()
    for seam in SEAMS:
        if seam.section:
            offers = plugins.offers(seam.hook)
            found |= {f"[{seam.section}.{o.name}]": o.cls for o in offers if attrs.fields(o.cls)}
        if seam.of_region:
            found |= {f"[roi.NAME.{o.name}]": o.cls for o in plugins.offers(seam.hook) if attrs.fields(o.cls)}
    return found


CLASSES = classes()


def default_of(field: Any) -> Any:
    return field.default.factory() if isinstance(field.default, attrs.Factory) else field.default


def test_the_page_has_every_table_and_no_other() -> None:
    assert set(TABLES) == set(CLASSES)


@pytest.mark.parametrize("title", sorted(CLASSES))
def test_the_page_has_every_key_in_order(title: str) -> None:
    keys = [pages.plain(row[0]) for row in TABLES[title].table()]
    assert keys == [f.name for f in attrs.fields(CLASSES[title]) if f.init]


@pytest.mark.parametrize("title", sorted(CLASSES))
def test_defaults_are_those_of_the_code(title: str) -> None:
    cls = CLASSES[title]
    hints = typing.get_type_hints(cls)
    fields = attrs.fields_dict(cls)
    for row in TABLES[title].table():
        key, given = pages.plain(row[0]), row[1]
        expected = default_of(fields[key])
        if expected is attrs.NOTHING:
            assert given == "needed", key
            continue
        value = tomli.loads(f"x = {pages.plain(given)}")["x"]
        found = converter(Path()).structure(value, hints[key])
        assert type(found) is type(expected), key
        assert found == expected, key


@pytest.mark.parametrize("title", sorted(CLASSES))
def test_rows_have_key_default_unit_and_meaning(title: str) -> None:
    assert all(len(row) == 4 for row in TABLES[title].table())


def test_the_template_of_lcf_init_is_a_legal_project() -> None:
    load(pages.ROOT / "lcframework" / "cli" / "project_template.toml")
