"""Decides, before a stage, the settings that the project file leaves open, and keeps to what is frozen."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
from sqlmodel import Session, col, select

from lcframework.config.toolbox import Toolbox, with_decisions
from lcframework.frames.exclusions import IMPORT
from lcframework.local_plugins import contents_of
from lcframework.plugins import Plugins, Source, asked
from lcframework.protocols import SettingRule
from lcframework.provenance import describe, digest
from lcframework.settings.evidence import Pixels, evidence, frames_made, stored_pixels
from lcframework.settings.records import decided_values
from lcframework.storage.queries import FrameRow, frame_rows
from lcframework.storage.tables import DecidedSetting, Frame
from lcframework.types import Decision

log = logging.getLogger(__name__)

#: Asks a rule about an instrument's frames.
Ask: TypeAlias = Callable[["Rule", str, Sequence[FrameRow]], Sequence[Decision]]

HOOK = "lcf_setting_rules"
FOOTPRINTS = "calculate_common_and_total_footprint"


@attrs.frozen(eq=False)
class Rule:
    """An installed rule, under its name."""

    name: str
    instance: SettingRule
    source: Source

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return the answer of one of its methods; raises as :func:`lcframework.plugins.asked`."""
        return asked(self.source, method, getattr(self.instance, method), *arguments)

    @property
    def digest(self) -> str:
        """Changes where the rule's decisions may change."""
        version = int(getattr(type(self.instance), "results_version", 1))
        file = filter(None, [contents_of(type(self.instance))])
        return digest([self.name, version, {k: v.value for k, v in describe(self.instance).items()}, *file], 16)


def rules(plugins: Plugins) -> list[Rule]:
    """Return the installed rules, in the order of their names; no two decide one setting."""
    return [Rule(offer.name, offer.cls(), offer.source) for offer in plugins.offers(HOOK)]


def open_settings(plugins: Plugins) -> list[str]:
    """Return the dotted names of all settings that installed rules can decide."""
    return [setting for rule in rules(plugins) for setting in rule.instance.settings]


def settled(toolbox: Toolbox, plugins: Plugins, session: Session) -> Toolbox:
    """Return the tools by the project file, with the decisions that the database has."""
    values = decided_values(session)
    return with_decisions(toolbox, plugins, values) if values else toolbox


def decide(
    stage: str, session: Session, toolbox: Toolbox, plugins: Plugins, pixels: Pixels = stored_pixels
) -> list[DecidedSetting]:
    """Decide what is open before a stage, and return the rows that changed.

    A decision that rests on as many frames as its rule wants is frozen: further frames are only compared with it. One
    that rests on fewer is made anew where there are more frames.

    Parameters
    ----------
    stage : str
        The stage that is about to run.
    session : Session
        On the project's database.
    toolbox : Toolbox
        By the project file alone.
    plugins : Plugins
        Those installed.
    pixels : callable
        Reads an imported frame's image and mask.
    """
    ask = functools.partial(_asked, session, toolbox, plugins, pixels)
    chosen = [r for r in rules(plugins) if r.instance.before == stage]
    frames = _frames(session, stage) if chosen else []
    instruments = sorted({f.instrument for f in frames})
    changed: list[DecidedSetting] = []
    for rule in chosen:
        for instrument in [""] if rule.instance.shared else instruments:
            own = [f for f in frames if rule.instance.shared or f.instrument == instrument]
            if own and _is_open(rule.instance, toolbox, instrument):
                changed += _decide(rule, instrument, own, session, toolbox, ask)
                session.flush()
    return changed


def _frames(session: Session, stage: str) -> Sequence[FrameRow]:
    if stage == IMPORT:  # nothing is made yet: the raw files
        return sorted(frame_rows(session, ~col(Frame.eliminated)), key=lambda f: str(f.original_image_path))
    if stage == FOOTPRINTS:  # which regions they contain is not known yet
        return [f for f in frames_made(session, in_footprint=False) if f.plate_solved]
    return frames_made(session, in_footprint=True)


def _is_open(rule: SettingRule, toolbox: Toolbox, instrument: str) -> bool:
    config = toolbox.configs.get(instrument, toolbox.config)
    names = [s.replace("*", roi) for s in rule.settings for roi in (config.roi if "*" in s else [""])]
    return any(config.uses(name) and not config.states(name) for name in names)


def _decide(
    rule: Rule, instrument: str, frames: Sequence[FrameRow], session: Session, toolbox: Toolbox, ask: Ask
) -> list[DecidedSetting]:
    known = _known(rule, instrument, session)
    newest = max(f.id or 0 for f in frames)
    config = toolbox.config_for(instrument)
    left_open = [s for s in rule.instance.settings if "*" not in s and config.uses(s) and not config.states(s)]
    complete = bool(known) and all(s in known for s in left_open)
    if complete and all(row.frozen for row in known.values()):
        return _test(rule, instrument, frames, session, ask, known)
    if complete and all(row.frozen or row.tested_to >= newest for row in known.values()):
        return []
    wanted = rule.instance.frames
    made = ask(rule, instrument, frames)
    changed = []
    for decision in made:
        row = known.get(decision.setting)
        if (row is not None and row.frozen) or config.states(decision.setting):
            continue
        if not config.uses(decision.setting):
            continue
        row = row or session.get(DecidedSetting, (instrument, decision.setting))  # of the rule as it was
        row = row or DecidedSetting(instrument=instrument, setting=decision.setting)
        if row.rule_digest != rule.digest or _changes(rule, decision.setting, row.value, decision.value):
            row.value = decision.value
            changed.append(row)
        row.why, row.alternatives = decision.why, decision.alternatives
        row.rule, row.rule_digest, row.frames, row.wanted = rule.name, rule.digest, decision.frames, wanted
        row.frozen, row.tested_to = decision.frames >= wanted, newest
        row.disagreement, row.doubt = "", decision.doubt
        session.add(row)
    for row in changed:
        log.info("%s", sentence(row))
    return changed


def _asked(
    session: Session, toolbox: Toolbox, plugins: Plugins, pixels: Pixels,
    rule: Rule, instrument: str, frames: Sequence[FrameRow],
) -> Sequence[Decision]:  # fmt: skip
    """Return what a rule decides by a sample of frames, and by what is decided already."""
    now = settled(toolbox, plugins, session)
    shown = evidence(session, now, instrument, frames, rule.instance.frames, pixels)
    decisions: Sequence[Decision] = rule.ask("decide", shown)
    return decisions


def _changes(rule: Rule, setting: str, old: Any, new: Any) -> bool:
    """Return whether a provisional decision gives way: where more frames differ from it by more than chance."""
    if old is None or new is None:
        return old is not new
    return bool(rule.ask("differ", setting, old, new))


def _known(rule: Rule, instrument: str, session: Session) -> dict[str, DecidedSetting]:
    """Return what the rule, as it is now, has decided for an instrument."""
    query = select(DecidedSetting).where(DecidedSetting.instrument == instrument, DecidedSetting.rule == rule.name)
    return {row.setting: row for row in session.exec(query) if row.rule_digest == rule.digest}


def _test(
    rule: Rule,
    instrument: str,
    frames: Sequence[FrameRow],
    session: Session,
    ask: Ask,
    known: Mapping[str, DecidedSetting],
) -> list[DecidedSetting]:
    """Compare frozen decisions with what as many new frames would decide."""
    new = [f for f in frames if (f.id or 0) > min(row.tested_to for row in known.values())]
    if len(new) < rule.instance.frames:
        return []
    changed = []
    for decision in ask(rule, instrument, new):
        row = known.get(decision.setting)
        if row is None:
            continue
        row.tested_to = max(f.id or 0 for f in new)
        row.doubt = decision.doubt or row.doubt
        differs = decision.value is not None and _changes(rule, decision.setting, row.value, decision.value)
        row.disagreement = (
            f"{decision.frames} newer frames would decide {shown(decision.value)}: {decision.why}" if differs else ""
        )
        session.add(row)
        changed.append(row)
    return changed


def sentence(row: DecidedSetting) -> str:
    """Return a decision in words."""
    whose = f" of {row.instrument}" if row.instrument else ""
    value = "is left as documented" if row.value is None else f"= {shown(row.value)}"
    return f"{row.setting}{whose} {value}: {row.why}"


def shown(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
