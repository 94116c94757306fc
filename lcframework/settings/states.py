"""How every setting that frames can decide stands: by the project file, by frames, or as documented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from sqlmodel import Session

from lcframework.config.project_file import Config, setting_path
from lcframework.config.toolbox import Toolbox
from lcframework.plugins import Plugins
from lcframework.settings.deciding import rules, settled
from lcframework.settings.records import decided_settings
from lcframework.storage.tables import DecidedSetting


@attrs.frozen
class SettingState:
    """A setting that frames can decide.

    Attributes
    ----------
    instrument : str
        Whose frames it holds for; empty for all.
    setting : str
        Its dotted name.
    value
        The value in force, as in TOML; None where it is not known without the frames.
    by : str
        ``"project file"``, ``"frames"`` or ``"documentation"``: the default.
    why, alternatives : str
        What the frames say, where they decided.
    frames, wanted : int
        On how many frames the decision rests, and on how many it is to rest before it is frozen.
    frozen : bool
        Whether further frames leave it as it is.
    disagreement : str
        What newer frames would have decided, where that differs; empty otherwise.
    doubt : str
        What the frames say against the value, or against what headers say; empty otherwise.
    rule : str
        The rule that decides it.
    """

    instrument: str
    setting: str
    value: Any
    by: str
    why: str = ""
    alternatives: str = ""
    frames: int = 0
    wanted: int = 0
    frozen: bool = False
    disagreement: str = ""
    doubt: str = ""
    rule: str = ""


def setting_states(by_file: Toolbox, plugins: Plugins, session: Session, stages: Sequence[str]) -> list[SettingState]:
    """Return the state of every setting that installed rules can decide, in the order of the stages.

    Parameters
    ----------
    by_file : Toolbox
        By the project file alone.
    plugins : Plugins
        Those installed.
    session : Session
        On the project's database.
    stages : sequence of str
        The names of the stages, in order.
    """
    now = settled(by_file, plugins, session)
    decided: dict[str, list[DecidedSetting]] = {}
    for row in decided_settings(session):
        decided.setdefault(row.setting, []).append(row)
    out = []
    for rule in sorted(rules(plugins), key=lambda r: [*stages, r.instance.before].index(r.instance.before)):
        for pattern in rule.instance.settings:
            for name in [pattern.replace("*", roi) for roi in by_file.config.roi] if "*" in pattern else [pattern]:
                rows = decided.get(name, [])
                if not rows and not any(c.uses(name) for c in (by_file.config, *by_file.configs.values())):
                    continue  # of a plugin that nobody selects
                out += [_of_row(by_file, now, row) for row in rows]
                if not rows:
                    by = "project file" if by_file.config.states(name) else "documentation"
                    out.append(SettingState("", name, value_of(now, "", name), by, rule=rule.name))
    return out


def _of_row(by_file: Toolbox, now: Toolbox, row: DecidedSetting) -> SettingState:
    config = by_file.configs.get(row.instrument, by_file.config)
    value = value_of(now, row.instrument, row.setting)
    if config.states(row.setting):
        return SettingState(row.instrument, row.setting, value, "project file", rule=row.rule)
    by = "documentation" if row.value is None else "frames"
    return SettingState(
        row.instrument, row.setting, value if row.value is None else row.value, by, row.why, row.alternatives,
        row.frames, row.wanted, row.frozen, row.disagreement, row.doubt, row.rule,
    )  # fmt: skip


def value_of(toolbox: Toolbox, instrument: str, setting: str) -> Any:
    """Return the value of an option in force for an instrument; None where its plugin is not selected."""
    first, *names = setting_path(setting)
    config: Config = toolbox.config_for(instrument)
    if first == "roi":
        return getattr(config.roi[names[0]], names[1], None)
    if len(names) == 1:
        return _plain(getattr(getattr(config, first), names[0], None))
    tools = {t.name: t.instance for t in toolbox.all(first, instrument)}
    return _plain(getattr(tools.get(names[0]), names[1], None))


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {k: v for k, v in attrs.asdict(value).items() if v is not None}
    return list(value) if isinstance(value, tuple) else value
