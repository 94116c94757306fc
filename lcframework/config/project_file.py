"""The project file: reads TOML into frozen attrs values.

All errors of a file are reported together: unknown options with the nearest known name, missing and conflicting
options, values of the wrong type. Each error states the file, the line, the given value and the allowed values.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import tomli

from lcframework.config.sections import (
    SECTIONS,
    Background,
    Calibration,
    ComparisonStars,
    Cosmics,
    Frames,
    Header,
    Normalization,
    Photometry,
    PlateSolving,
    Plugins,
    Project,
    Psf,
    Reduction,
    Roi,
    RoiCutouts,
    RoiModel,
    Run,
    Sequence,
    Sources,
    Stamps,
    Stars,
    Telescope,
    Variables,
)
from lcframework.config.structuring import Problem, nearest_or_allowed, resolve_path, structure
from lcframework.options import closest
from lcframework.types import LcfError, redacted

RawTable = dict[str, Any]

#: Bytes of a region's name: file names, of which it is a part, have 255 at most.
_LONGEST_NAME = 100

#: Sections that may differ by instrument; the others apply to all frames, or are used before the instrument is known.
_FOR_ALL = ("project", "frames", "header", "stars", "variables", "sequence", "run", "plugins")
BY_INSTRUMENT = tuple(s for s in SECTIONS if s not in _FOR_ALL)


class ConfigError(LcfError):
    """All errors of one project file, one line each, with the path and the line number."""

    def __init__(self, path: Path, problems: list[Problem], lines: Mapping[str, int]) -> None:
        self.problems = problems
        rows = []
        for problem in problems:
            line = lines.get(problem.name) or lines.get(problem.name.rpartition(".")[0])
            rows.append(f"{path}{f', line {line}' if line else ''}: {problem.message}")
        super().__init__("\n".join(rows))


@attrs.frozen
class Config:
    """A project file that was read without error.

    `raw` is the parsed TOML with the overrides of the instrument merged in. `tables` holds the options of plugins by
    section (``roi.NAME`` for a region's) and plugin name; they are not yet checked, because only the class of the
    plugin knows them.
    """

    path: Path
    raw: RawTable
    lines: Mapping[str, int]
    project: Project
    frames: Frames
    header: Header
    telescope: Telescope | None
    roi: Mapping[str, Roi]
    reduction: Reduction
    background: Background
    sources: Sources
    plate_solving: PlateSolving
    stars: Stars
    variables: Variables
    sequence: Sequence
    stamps: Stamps
    cosmics: Cosmics
    psf: Psf
    comparison_stars: ComparisonStars
    photometry: Photometry
    normalization: Normalization
    calibration: Calibration
    roi_cutouts: RoiCutouts
    roi_model: RoiModel
    run: Run
    plugins: Plugins
    tables: Mapping[str, Mapping[str, RawTable]]
    stage_tables: Mapping[str, RawTable]
    by_frames: frozenset[str] = frozenset()  # dotted names of the options that frames decided

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the database's password behind where the configuration is sent to workers, which never open it."""
        values = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        if redacted(self.project.database) != self.project.database:
            hidden = {"database": redacted(self.project.database)}
            values["project"] = attrs.evolve(self.project, **hidden)
            values["raw"] = {**self.raw, "project": {**self.raw["project"], **hidden}}
        return _restored, (values,)

    @property
    def directory(self) -> Path:
        """The folder of the project file, to which its paths are relative."""
        return self.path.parent

    @functools.cached_property
    def workdir(self) -> Path:
        """The folder in which products are written."""
        return resolve_path(self.project.workdir, self.directory).resolve()

    def instruments(self) -> list[str]:
        """Return the instruments that have overrides."""
        return list(self.raw.get("instrument", {}))

    def for_instrument(self, name: str) -> Config:
        """Return the configuration for the frames of one instrument, with its overrides applied."""
        override = self.raw.get("instrument", {}).get(name)
        if not override:
            return self
        merged = _merge({k: v for k, v in self.raw.items() if k != "instrument"}, override)
        merged["instrument"] = self.raw["instrument"]
        return _build(self.path, merged, self.lines, instrument=name)

    def states(self, setting: str) -> bool:
        """Return whether the project file gives an option, by its dotted name."""
        if setting in self.by_frames:
            return False
        table: Any = self.raw
        for part in setting_path(setting):
            if not isinstance(table, Mapping) or part not in table:
                return False
            table = table[part]
        return True

    def uses(self, setting: str) -> bool:
        """Return whether an option is in use: not that of a plugin that the project file does not select."""
        section, *inner = setting_path(setting)
        if section == "roi" or len(inner) < 2:
            return True
        chosen = getattr(self, section).plugin
        return inner[0] in ([chosen] if isinstance(chosen, str) else chosen)

    def with_settings(self, settings: Mapping[str, Any]) -> Config:
        """Return the configuration with these options, by dotted name, as if the project file gave them."""
        merged = self.raw
        for name, value in settings.items():
            table: Any = value
            for part in reversed(setting_path(name)):
                table = {part: table}
            merged = _merge(merged, table)
        made = _build(self.path, merged, self.lines, extra=tuple(self.raw))  # its sections are checked already
        return attrs.evolve(made, stage_tables=self.stage_tables, by_frames=self.by_frames | set(settings))

    def error(self, problems: list[Problem]) -> ConfigError:
        """Return an error that lists these problems with the line numbers of this file."""
        return ConfigError(self.path, problems, self.lines)


def _restored(values: dict[str, Any]) -> Config:
    return Config(**values)


def setting_path(setting: str) -> tuple[str, ...]:
    """Return the tables and the option that a dotted name gives; the name of a region may have dots itself."""
    if setting.startswith("roi."):
        name, _, option = setting.removeprefix("roi.").rpartition(".")
        return ("roi", name, option)
    return tuple(setting.split("."))


def _without_auto(raw: RawTable, open_settings: Iterable[str]) -> RawTable:
    """Return the parsed TOML without the options that are left to the frames by ``"auto"``."""
    special = raw.get("instrument")
    tables = [raw, *(t for t in special.values() if isinstance(t, dict))] if isinstance(special, dict) else [raw]
    for setting in open_settings:
        first, *_, option = setting_path(setting)
        for table in tables:
            sections = table.get(first, {})
            found = sections.values() if first == "roi" and isinstance(sections, dict) else [_inner(table, setting)]
            for section in found:
                if isinstance(section, dict) and section.get(option) == "auto":
                    del section[option]
    return raw


def _inner(table: Any, setting: str) -> Any:
    for part in setting_path(setting)[:-1]:
        table = table.get(part) if isinstance(table, dict) else None
    return table


def load(path: Path, stage_names: tuple[str, ...] = (), open_settings: Iterable[str] = ()) -> Config:
    """Read a project file.

    Parameters
    ----------
    path : Path
        The TOML file.
    stage_names : tuple of str
        Names of stages that plugins add; each may have a section of its name.
    open_settings : iterable of str
        Dotted names of the options that rules can decide: the value ``"auto"`` leaves them to these.

    Raises
    ------
    ConfigError
        Lists all errors of the file.
    """
    path = path.resolve()
    return config_of(path, *read_toml(path), stage_names, open_settings)


def config_of(
    path: Path, text: str, raw: RawTable, stage_names: tuple[str, ...] = (), open_settings: Iterable[str] = ()
) -> Config:
    """Return the configuration of a project file whose text and tables are read already; otherwise as :func:`load`."""
    lines = line_numbers(text)
    extra = (*stage_names, *(name for name in _named_stages(raw) if name not in stage_names))
    config = _build(path, _without_auto(raw, open_settings), lines, extra=extra)
    for name in config.instruments():
        config.for_instrument(name)
    return config


def read_toml(path: Path) -> tuple[str, RawTable]:
    """Return the text of a project file, and its tables as they are.

    Raises
    ------
    LcfError
        Where it can't be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LcfError(
            f"the project file {path} can't be read: {error.strerror}. `lcf init` writes one to edit."
        ) from None
    except UnicodeDecodeError as error:
        raise LcfError(f"{path} is not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    try:
        raw = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise LcfError(f"{path} is not valid TOML: {error}") from None
    return text, raw


def workdir_of(raw: RawTable, directory: Path) -> Path:
    """Return the folder of products that a parsed project file names, or would have by default."""
    table = raw.get("project", {})
    name = table.get("workdir", ".") if isinstance(table, dict) else "."
    return resolve_path(name if isinstance(name, str) else ".", directory).resolve()


#: Options that select plugins: the tables inside their sections are options of plugins.
_SELECTS = {"plugin", "executor"}
#: What the names of the regions' sections begin with.
OF_REGION = "roi."


def _build(
    path: Path, raw: RawTable, lines: Mapping[str, int], extra: tuple[str, ...] = (), instrument: str = ""
) -> Config:
    problems: list[Problem] = []
    values: dict[str, Any] = {"telescope": None}
    tables: dict[str, dict[str, RawTable]] = {}
    known = [*SECTIONS, "roi", "instrument", *extra]
    for section in raw:
        if section not in known and not instrument:  # the file itself was checked before its instruments
            problems.append(Problem(section, f"[{section}] is not a section{nearest_or_allowed(section, known)}"))
    for name, cls in SECTIONS.items():
        table = raw.get(name, {})
        if not isinstance(table, dict):
            problems.append(Problem(name, f"{name} must be a table, [{name}]; got {table!r}"))
            continue
        if name == "telescope" and not table:
            continue
        own, subtables = dict(table), {}
        if not _SELECTS.isdisjoint(attrs.fields_dict(cls)):
            # An option that is a number or a text is no table: one of its name has options of the plugin of that name.
            plain = {f.name for f in attrs.fields(cls) if not isinstance(f.default, int | float | str)}
            subtables = {k: own.pop(k) for k in list(own) if isinstance(own[k], dict) and k not in plain}
        tables[name] = subtables
        values[name] = structure(cls, own, name, path.parent, problems)
    values["roi"] = _regions(raw.get("roi", {}), path.parent, tables, problems)
    for name, sections in _overrides(raw, problems).items():
        for section in sections:
            if section not in BY_INSTRUMENT:
                where = f"instrument.{name}.{section}"
                problems.append(
                    Problem(
                        where,
                        f"[{where}]: {section} can't be set for one instrument"
                        f"{nearest_or_allowed(section, BY_INSTRUMENT)}",
                    )
                )
    if problems:
        if instrument:
            problems = [
                Problem(f"instrument.{instrument}.{p.name}", f"{p.message} (for instrument {instrument})")
                for p in problems
            ]
        raise ConfigError(path, problems, lines)
    stage_tables = {k: raw[k] for k in raw if k in extra}
    return Config(path=path, raw=raw, lines=lines, tables=tables, stage_tables=stage_tables, **values)


def _overrides(raw: RawTable, problems: list[Problem]) -> dict[str, RawTable]:
    tables = raw.get("instrument", {})
    if not isinstance(tables, dict):
        problems.append(Problem("instrument", f"[instrument] holds one table per instrument; got {tables!r}"))
        return {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            where = f"instrument.{name}"
            problems.append(Problem(where, f"[{where}] holds sections, [{where}.SECTION]; got {table!r}"))
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def _regions(raw: Any, base: Path, tables: dict[str, dict[str, RawTable]], problems: list[Problem]) -> dict[str, Roi]:
    """Return the regions, and add the tables of their plugins to `tables`."""
    if not isinstance(raw, dict) or not raw:
        problems.append(
            Problem(
                "roi",
                "there is no region of interest: add [roi.NAME] with ra and dec in degrees, and its point_sources",
            )
        )
        return {}
    out = {}
    for name, table in raw.items():
        where = f"roi.{name}"
        if not isinstance(table, dict):
            problems.append(Problem(where, f"[roi] holds one table per region, [roi.NAME]; got {name} = {table!r}"))
            continue
        if not re.fullmatch(r"[\w.+-]+", name) or not name.strip(".") or len(name.encode()) > _LONGEST_NAME:
            problems.append(
                Problem(
                    where,
                    f"the region's name {name!r} becomes part of file names: letters, "
                    f"digits, . _ + - only, not dots alone, and at most {_LONGEST_NAME} bytes",
                )
            )
        own, plugins = _without_plugins(table)
        tables[OF_REGION + name] = plugins
        made = structure(Roi, own, where, base, problems)
        if made is not None:
            out[name] = made
    return out


def _without_plugins(table: RawTable) -> tuple[RawTable, dict[str, RawTable]]:
    """Return the options of a region, and the tables of its plugins; a misspelled option stays with the options."""
    known = [f.name for f in attrs.fields(Roi)]
    plugins = {k: v for k, v in table.items() if isinstance(v, dict) and k not in known and not closest(k, known)}
    return {k: v for k, v in table.items() if k not in plugins}, plugins


def _merge(base: RawTable, override: RawTable) -> RawTable:
    out = dict(base)
    for key, value in override.items():
        out[key] = _merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def _named_stages(raw: RawTable) -> list[str]:
    """Return the stages of plugins that a project file names, whether or not they are installed."""
    run = raw.get("run")
    named = run.get("stages", []) if isinstance(run, dict) else []
    return [name.rpartition(":")[2] for name in named if isinstance(name, str)] if isinstance(named, list) else []


def plugin_settings(raw: RawTable, directory: Path) -> Plugins:
    """Return the section ``[plugins]``, which says what is loaded before the other sections can be checked.

    Its errors are left to :func:`load`, which reports all of them together.
    """
    table = raw.get("plugins", {})
    made = structure(Plugins, table, "plugins", directory, []) if isinstance(table, dict) else None
    return made or Plugins()


def line_numbers(text: str) -> dict[str, int]:
    """Return the line on which each table and option of a TOML text starts, by dotted name."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line)
        option = re.match(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[\w\"'-]+)*)\s*=", line)
        if header:
            table = _dotted(header[1])
            lines.setdefault(table, number)
        elif option:
            name = _dotted(option[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def _dotted(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
