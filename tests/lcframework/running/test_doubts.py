"""Doubts: written with their product, counted by cause, and on the frames and epochs that they touch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlmodel import Session, select

from lcframework.running.doubts import Cause, _scope
from lcframework.storage.connection import open_engine
from lcframework.storage.doubts import doubt_records, doubts_in_force, flag_doubted, forget_old_doubts
from lcframework.storage.records import apply
from lcframework.storage.tables import DoubtRow, Frame, Product
from lcframework.types import Doubt, FrameFlag, Severity
from lcframework.work import Filter, Scope


@pytest.fixture
def session(tmp_path: Path):
    engine = open_engine("", tmp_path)
    with Session(engine) as session:
        for i in (1, 2):
            session.add(Frame(id=i, original_image_path=f"/raw/f{i}.fits", key=f"f{i}", flags=1))
            session.add(Product(stage="s", unit=f"frame:{i}", fingerprint="", token="", components={}, state="made"))
        session.commit()
        yield session
    engine.dispose()


def put(session: Session, frame: int, *doubts: Doubt) -> None:
    apply(session, [doubt_records("s", f"frame:{frame}", doubts, frame)])
    flag_doubted(session, [frame])
    session.commit()


def flags(session: Session, frame: int) -> int:
    session.expire_all()
    return session.get(Frame, frame).flags


def test_a_doubt_goes_with_what_replaces_it(session: Session) -> None:
    put(session, 1, Doubt("gain", "the gain is odd", value=2.0))
    assert [(d.kind, d.value, d.frame_id) for d in doubts_in_force(session)] == [("gain", 2.0, 1)]
    assert flags(session, 1) == 1 | FrameFlag.DOUBTED
    put(session, 1)
    assert doubts_in_force(session) == []
    assert flags(session, 1) == 1


def test_a_note_leaves_the_frame_unflagged(session: Session) -> None:
    put(session, 1, Doubt("gain", "the gain is odd", severity=Severity.NOTE))
    assert flags(session, 1) == 1
    assert len(doubts_in_force(session)) == 1


def test_doubts_of_one_kind_differ_by_subject(session: Session) -> None:
    put(session, 1, Doubt("k", "t", subject="a"), Doubt("k", "t", subject="b"), Doubt("k", "later", subject="b"))
    assert [(d.subject, d.text) for d in doubts_in_force(session)] == [("a", "t"), ("b", "later")]


def test_products_and_frames_that_are_out_take_their_doubts_along(session: Session) -> None:
    put(session, 1, Doubt("k", "t"))
    put(session, 2, Doubt("k", "t"))
    session.get(Frame, 1).eliminated = True
    session.get(Product, ("s", "frame:2")).state = "unusable"
    session.commit()
    assert doubts_in_force(session) == []


def test_a_product_that_is_deleted_takes_its_doubts_along(session: Session) -> None:
    put(session, 1, Doubt("k", "t"))
    apply(session, [doubt_records("project", "project", [Doubt("idle", "t")])])
    session.delete(session.get(Product, ("s", "frame:1")))
    session.commit()
    forget_old_doubts(session, "project")
    session.commit()
    assert flags(session, 1) == 1
    assert [row.stage for row in session.exec(select(DoubtRow))] == ["project"]


def test_causes_are_counted() -> None:
    cause = Cause("k", "it is odd", "Look", Severity.DOUBT, "s", ("a", "b", "c", "d"), ("star x",))
    assert cause.sentence == "it is odd. 4 frames: a, b, c, ...; star x. Look."
    assert Cause("k", "it is odd.", "", Severity.NOTE, "project").sentence == "it is odd."
    others = Cause("k", "A is odd", "", Severity.DOUBT, "s", (), ("A", "B", "a"))
    assert others.sentence == "A is odd. also for B, a."
    assert np.isnan(Doubt("k", "t").value)


@pytest.mark.parametrize(
    ("only", "kinds"),
    [
        (Filter(), {"model", "group", "frame"}),
        (Filter(rois=("B",)), {"group", "frame"}),
        (Filter(rois=("A",), bands=("r",)), {"model", "group", "frame"}),
        (Filter(bands=("V",)), set()),
        (Filter(instruments=("cam",)), {"model", "group", "frame"}),
    ],
)
def test_doubts_belong_to_what_their_units_are_of(only: Filter, kinds: set[str]) -> None:
    rows = [
        DoubtRow(stage="model_calibrated_cutouts", unit="fit:A:cam:r", kind="model", severity="doubt", text=""),
        DoubtRow(stage="calculate_absolute_zeropoints", unit="hash:cam:r", kind="group", severity="doubt", text=""),
        DoubtRow(stage="s", unit="frame:1", kind="frame", severity="doubt", text="", frame_id=1),
    ]
    scopes = {1: Scope(frozenset(["A", "B"]), "cam", "r")}
    assert {row.kind for row in rows if only.admits(_scope(row, scopes))} == kinds
