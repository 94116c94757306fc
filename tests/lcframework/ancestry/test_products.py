"""What made each step, and what is out of date."""

from __future__ import annotations

import json

import pytest

from lcframework.ancestry.facts import plain
from lcframework.ancestry.products import made_by
from lcframework.ancestry.records import read_records
from lcframework.ancestry.surroundings import Surroundings

IMPORT = ("read_convert_skysub_character_catalog", "frame:2")
OTHER = ("read_convert_skysub_character_catalog", "frame:3")


@pytest.mark.parametrize(
    ("pending", "said"),
    [
        ({}, "up to date yes: `lcf run` would make none of it again"),
        ({IMPORT: ["raw: \"0123456789abcdef\" -> \"fedcba9876543210\""]}, "out of date read_convert_skysub"),
        ({OTHER: ["new"]}, "up to date its own steps are; 1 other unit of work is pending"),
        (None, ""),
    ],
)  # fmt: skip
def test_what_is_out_of_date(example, pending, said):
    project = example.open()
    with project.session() as session:
        records = read_records(session, [2], Surroundings(project, session))
        section = made_by(records, records.frames[2], [IMPORT], pending)
    lines = [f"{line.label} {line.text}" for line in section.lines if line.label in ("up to date", "out of date")]
    assert [line.startswith(said) for line in lines] == [True] * bool(said)
    assert "0123456789" not in " ".join(lines)  # digests say nothing to people


def test_plugins_are_named_as_they_were_recorded(example):
    parts = {"psf": {"plugin": ["lcf-gone"], "lcf-gone": {"results_version": 7, "api_key": "s3cret", "rings": 3}}}
    example.sql(f"update products set components = '{json.dumps(parts)}' where stage = 'psf_modeling'")
    example.sql(
        "insert into products (stage, unit, fingerprint, fingerprint_rule, token, components, state, reason, path, "
        "seconds) values ('plugins', 'psf:lcf-gone', '', 2, '', "
        "'{\"results_version\": 7, \"releases\": [\"lcf-gone 1.2\"]}', 'made', '', '', 0)"
    )
    found = example.ancestry()
    [maker] = found.as_json()["psf"]["plugin"]
    assert (maker["plugin"], maker["package"], maker["results_version"]) == ("lcf-gone", "lcf-gone 1.2", 7)
    assert maker["options"] == {"api_key": "***", "rings": 3}
    texts = [line.text for s in found.sections for line in (*s.lines, *s.more)]
    assert not any("s3cret" in text for text in (*texts, json.dumps(found.as_json())))


def test_values_that_json_holds():
    found = plain({"a": float("nan"), "b": (1, 2.5), "password": "x", "url": "postgresql://me:pw@host/db"})
    assert found == {"a": None, "b": [1, 2.5], "password": "***", "url": "postgresql://me:***@host/db"}
