"""Decisions: provisional until they rest on enough frames, then frozen, tested, and overridden by the project file."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from sqlmodel import Session, select

from lcframework.config.project_file import load
from lcframework.config.toolbox import Toolbox
from lcframework.config.toolbox import select as select_tools
from lcframework.hookspecs import hookimpl
from lcframework.plugins import Plugins
from lcframework.running.doubts import _of_project
from lcframework.settings.deciding import decide, open_settings, settled
from lcframework.settings.records import decided_settings, forget
from lcframework.settings.states import setting_states
from lcframework.storage.connection import open_engine
from lcframework.storage.tables import DecidedSetting, Frame
from lcframework.types import Decision, Evidence, LcfError

STAGE = "stamp_extraction"


@attrs.frozen
class FiveSeeings:
    settings: ClassVar[tuple[str, ...]] = ("stamps.star_size",)
    before: ClassVar[str] = STAGE
    frames: ClassVar[int] = 6
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> list[Decision]:
        if not evidence.frames:
            return []
        seeing = float(np.median([f.values["seeing_pixels"] for f in evidence.frames]))
        return [Decision("stamps.star_size", 2 * round(2.5 * seeing), f"seeing {seeing:.1f}", len(evidence.frames))]

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        return abs(old - new) > 4


def offering(**rules: type[Any]) -> Plugins:
    def lcf_setting_rules() -> dict[str, type[Any]]:
        return rules

    module = SimpleNamespace(lcf_setting_rules=hookimpl(lcf_setting_rules))
    others = [
        (p.name, "here", p.load) for p in entry_points(group="lcframework")
        if not p.name.startswith(("command.", "setting-"))
    ]  # fmt: skip
    return Plugins([*others, ("rules", "here", lambda: module)])


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return offering(five=FiveSeeings)


def tools(folder: Path, plugins: Plugins, more: str = "") -> Toolbox:
    path = folder / "project.toml"
    path.write_text(f"[roi.T]\nra = 10.0\ndec = 20.0\n{more}")
    return select_tools(load(path, (), open_settings(plugins)), plugins)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = open_engine("", tmp_path)
    with Session(engine) as session:
        yield session
    engine.dispose()


def add_frames(session: Session, count: int, seeing: float, instrument: str = "cam") -> None:
    first = len(session.exec(select(Frame)).all())
    for i in range(first, first + count):
        row = dict(original_image_path=f"/raw/{i}", key=f"f{i}", image_relpath=f"f{i}", instrument=instrument)
        session.add(Frame(id=i + 1, mjd=60000.0 + i, seeing_pixels=seeing, roi_in_footprint=True, **row))
    session.commit()


def size(session: Session, toolbox: Toolbox, plugins: Plugins, instrument: str = "cam") -> int:
    decide(STAGE, session, toolbox, plugins)
    return settled(toolbox, plugins, session).config_for(instrument).stamps.star_size


def test_it_is_provisional_until_it_rests_on_enough_frames(tmp_path: Path, session: Session, plugins: Plugins) -> None:
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 3, seeing=4.0)
    assert size(session, toolbox, plugins) == 20
    assert not decided_settings(session)[0].frozen
    add_frames(session, 6, seeing=8.0)  # now most frames are worse
    assert size(session, toolbox, plugins) == 40
    (row,) = decided_settings(session)
    assert (row.frozen, row.frames, row.wanted) == (True, 6, 6)
    add_frames(session, 4, seeing=2.0)
    assert size(session, toolbox, plugins) == 40


def test_nothing_is_decided_again_without_new_frames(tmp_path: Path, session: Session, plugins: Plugins) -> None:
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 3, seeing=4.0)
    assert len(decide(STAGE, session, toolbox, plugins)) == 1
    assert decide(STAGE, session, toolbox, plugins) == []


def test_a_rule_for_a_plugin_that_is_not_selected_is_not_asked(tmp_path: Path, session: Session) -> None:
    @attrs.frozen
    class OfAnother(FiveSeeings):
        settings: ClassVar[tuple[str, ...]] = ("photometry.starred.position_prior",)

        def decide(self, evidence: Evidence) -> list[Decision]:
            raise AssertionError("asked")

    plugins = offering(other=OfAnother)
    add_frames(session, 3, seeing=4.0)
    assert decide(STAGE, session, tools(tmp_path, plugins, '[photometry]\nplugin = "none"'), plugins) == []
    with pytest.raises(LcfError, match="asked"):
        decide(STAGE, session, tools(tmp_path, plugins), plugins)


def test_newer_frames_that_disagree_are_told_and_change_nothing(
    tmp_path: Path, session: Session, plugins: Plugins
) -> None:
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 6, seeing=4.0)
    assert size(session, toolbox, plugins) == 20
    add_frames(session, 6, seeing=4.2)
    assert size(session, toolbox, plugins) == 20
    assert decided_settings(session)[0].disagreement == ""
    add_frames(session, 6, seeing=8.0)
    assert size(session, toolbox, plugins) == 20
    (row,) = decided_settings(session)
    assert row.disagreement == "6 newer frames would decide 40: seeing 8.0"
    (state,) = setting_states(toolbox, plugins, session, [STAGE])
    assert (state.value, state.by, state.disagreement) == (20, "frames", row.disagreement)


def test_asked_again_it_follows_all_frames(tmp_path: Path, session: Session, plugins: Plugins) -> None:
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 6, seeing=4.0)
    assert size(session, toolbox, plugins) == 20
    add_frames(session, 30, seeing=8.0)
    assert forget(session, ["stamps.star_size"]) == 1
    assert size(session, toolbox, plugins) == 40


def test_each_instrument_has_its_own(tmp_path: Path, session: Session, plugins: Plugins) -> None:
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 3, seeing=4.0)
    add_frames(session, 3, seeing=8.0, instrument="other")
    assert size(session, toolbox, plugins) == 20
    assert size(session, toolbox, plugins, "other") == 40
    assert size(session, toolbox, plugins, "a third") == 24  # as documented


@pytest.mark.parametrize("given", ["[stamps]\nstar_size = 30", '[instrument."cam".stamps]\nstar_size = 30'])
def test_the_project_file_has_the_last_word(tmp_path: Path, session: Session, plugins: Plugins, given: str) -> None:
    add_frames(session, 6, seeing=4.0)
    assert size(session, tools(tmp_path, plugins), plugins) == 20
    toolbox = tools(tmp_path, plugins, given)
    assert size(session, toolbox, plugins) == 30
    (state,) = setting_states(toolbox, plugins, session, [STAGE])
    assert (state.value, state.by) == (30, "project file")


def test_auto_leaves_it_to_the_frames(tmp_path: Path, session: Session, plugins: Plugins) -> None:
    add_frames(session, 6, seeing=4.0)
    assert size(session, tools(tmp_path, plugins, '[stamps]\nstar_size = "auto"'), plugins) == 20


def test_of_two_rules_for_one_setting_the_second_is_switched_off() -> None:
    both = offering(five=FiveSeeings, six=FiveSeeings)
    assert open_settings(both) == ["stamps.star_size"]
    assert both.names("lcf_setting_rules") == ["five"]
    (problem,) = next(p.problems for p in both.plugins if p.name == "rules")
    assert "'six': stamps.star_size is decided by rules (here) already" in problem


def test_a_changed_rule_decides_again(tmp_path: Path, session: Session, plugins: Plugins) -> None:
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 6, seeing=4.0)
    assert size(session, toolbox, plugins) == 20

    @attrs.frozen
    class Wider(FiveSeeings):
        results_version: ClassVar[int] = 2

        def decide(self, evidence: Evidence) -> list[Decision]:
            return [attrs.evolve(d, value=50) for d in FiveSeeings().decide(evidence)]

    assert size(session, toolbox, offering(five=Wider)) == 50
    assert [row.value for row in session.exec(select(DecidedSetting))] == [50]


@attrs.frozen
class DoubtedGain:
    """Decides a gain, and doubts that of headers while frames say so."""

    settings: ClassVar[tuple[str, ...]] = ("header.gain",)
    before: ClassVar[str] = STAGE
    frames: ClassVar[int] = 2
    shared: ClassVar[bool] = False

    def decide(self, evidence: Evidence) -> list[Decision]:
        seeing = evidence.frames[-1].values["seeing_pixels"]
        value = None if seeing < 3 else seeing
        return [Decision("header.gain", value, "noise", len(evidence.frames), doubt="headers are wrong")]

    def differ(self, setting: str, old: Any, new: Any) -> bool:
        return bool(new / old > 1.2)  # a rule need not know of decisions without a value


def test_what_a_rule_doubts_stays_apart_from_what_newer_frames_say(tmp_path: Path, session: Session) -> None:
    plugins = offering(gain=DoubtedGain)
    toolbox = tools(tmp_path, plugins)
    add_frames(session, 2, seeing=2.0)
    decide(STAGE, session, toolbox, plugins)
    (row,) = decided_settings(session)
    assert (row.value, row.frozen, row.doubt, row.disagreement) == (None, True, "headers are wrong", "")
    add_frames(session, 2, seeing=4.0)
    decide(STAGE, session, toolbox, plugins)
    (row,) = decided_settings(session)
    assert (row.value, row.doubt) == (None, "headers are wrong")
    assert row.disagreement == "2 newer frames would decide 4: noise"
    kinds = [doubt.kind for doubt, _ in _of_project(session, toolbox)]
    assert kinds == ["setting_doubted", "setting_outdated"]
