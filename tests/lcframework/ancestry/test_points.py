"""A region, a source and a frame, as people name them."""

from __future__ import annotations

import pytest

from lcframework.ancestry import understood
from lcframework.types import LcfError
from lcframework.work.scopes import UnknownName


@pytest.fixture
def ask(example):
    """A function that asks in words, and returns region, source and frame."""

    def understand(*words: str):
        project = example.open()
        with project.session() as session:
            return understood(session, project.config, words)

    return understand


@pytest.mark.parametrize(
    "word",
    ["2", "example_2", "example_2.fits", "raw/example_2.fits", "60361", "60361.01", "2460361.5", "2024-02-21T00:10",
     "2024-02-21T01:10:00+01:00"],
)  # fmt: skip
def test_a_frame_by_id_name_file_or_time(ask, word):
    assert ask("EXAMPLE", "A", word).frame_id == 2  # MJD 60361 is 2024-02-21


def test_how_a_time_led_to_a_frame(ask):
    assert ask("A", "60361.01").how == "the nearest to MJD 60361.01000 (2024-02-21 00:14:24 UTC), 14.4 min earlier"
    assert ask("A", "2").how == ""


def test_a_day_is_all_of_it(ask, example):
    example.sql("update frames set mjd = 60361.9 where id = 3")
    assert ask("A", "2024-02-21").frame_id == 3  # not the one of the midnight before: both lie in it, this is nearer
    assert "the nearest to MJD 60361.50000" in ask("A", "2024-02-21").how


def test_region_and_source_may_be_left_out_where_there_is_one(ask, example):
    assert ask("B", "2").source == "B"
    with pytest.raises(
        UnknownName, match=r"which source is meant\? The point sources: EXAMPLE: A, B. Give SOURCE FRAME"
    ):
        ask("2")
    text = (example.folder / "project.toml").read_text()
    [line] = [t for t in text.splitlines() if t.startswith("B = ")]
    example.edit(line, "")
    assert ask("2").source == "A"
    assert ask("EXAMPLE", "2").source == "A"


def test_two_regions_with_sources_of_one_name(ask, example):
    example.edit(
        "[stars]", "[roi.OTHER]\nra = 150.001\ndec = -28.0\n[roi.OTHER.point_sources]\nA = [150.001, -28.0]\n[stars]"
    )
    with pytest.raises(UnknownName, match=r"EXAMPLE: A, B; OTHER: A. Give REGION SOURCE FRAME"):
        ask("A", "2")
    assert (ask("B", "2").roi, ask("OTHER", "2").source) == ("EXAMPLE", "A")
    assert ask("OTHER", "A", "2").roi == "OTHER"
    with pytest.raises(UnknownName, match="there is no such point source"):
        ask("OTHER", "B", "2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("EXAMPEL", "A", "2"), r'called "EXAMPEL"; did you mean "EXAMPLE"\?'),
        (("A", "example_22"), r'no frame is called "example_22", and no such file lies in .*did you mean "example_2"'),
        (("A", "60400"), r"within half a day of MJD 60400.00000 .*the nearest: example_4.fits 37.0 d earlier"),
        (("A", "60361.7"), None),
        (("A", "60370.2"), r"Are the night's files in a folder of \[frames\] raw_dirs\?"),
        (("EXAMPLE", "A", "B", "2"), "too many names"),
    ],
)  # fmt: skip
def test_what_there_is_instead(ask, words, message):
    if message is None:
        assert ask(*words).frame_id == 3
        return
    with pytest.raises(LcfError, match=message):
        ask(*words)


def test_a_file_that_no_run_has_found(ask, example):
    (example.folder / "raw" / "late.fits").write_bytes(b"x")
    (example.folder / "raw" / "late.fit").write_bytes(b"x")
    with pytest.raises(LcfError, match="the file is there, and no run has found it yet"):
        ask("A", "late.fits")
    with pytest.raises(LcfError, match=r'does not match \[frames\] pattern = "\*.fits"'):
        ask("A", "late.fit")


def test_two_files_of_one_name(ask, example):
    example.sql("update frames set original_image_path = 'other/example_2.fits' where id = 3")
    with pytest.raises(LcfError, match=r"give the id of one: 2 \(raw/example_2.fits\), 3 \(other/example_2.fits\)"):
        ask("A", "example_2.fits")
