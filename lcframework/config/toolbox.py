"""The plugins that the sections of a project file select, with their options; they can be pickled for workers."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from lcframework.config.executor import check_executors
from lcframework.config.project_file import OF_REGION, Config
from lcframework.config.selections import option_of, seam_of, selected, selecting_sections
from lcframework.config.structuring import Problem, resolve_path, structure
from lcframework.local_plugins import contents_of
from lcframework.plugins import Plugins, Source, asked
from lcframework.protocols import AppliesDiscs, HasOperational, MeasuresApertures, MeasuresInDiscs
from lcframework.provenance import Components, describe
from lcframework.types import PluginError

GENERIC_PARSER = "fits"
#: What ``[reduction] plugin = "auto"`` calibrates with, where there are calibration frames.
GENERIC_REDUCTION = "ccdproc"
AUTO = "auto"
#: The ephemeris of a region that stays where the project file says.
FIXED = "fixed"
T = TypeVar("T")


@attrs.frozen
class Tool:
    """One selected plugin: an instance of its class with the options of ``[section.name]``."""

    section: str
    name: str
    instance: Any
    results_version: int
    source: Source | None = attrs.field(default=None, eq=False)  # who answers, for messages

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return the answer of one of the plugin's methods; raises as :func:`lcframework.plugins.asked`."""
        source = self.source or Source(self.section, seam_of(self.section).hook, self.name)
        return asked(source, method, getattr(self.instance, method), *arguments)

    def identity(self) -> Components:
        """Return what a product depends on: the version of the plugin, and its options that can change results."""
        named = self.instance.operational if isinstance(self.instance, HasOperational) else ()
        operational = {"offline", "cache_dir", *named}
        options = {k: v for k, v in describe(self.instance).items() if k not in operational}
        file = contents_of(type(self.instance))
        return {"results_version": self.results_version, **options, **({"plugin_file": file} if file else {})}


@attrs.frozen
class Toolbox:
    """The configuration and the tools that stages use, for all instruments."""

    config: Config
    # instrument ('' for all others) -> section -> tools; a region's ephemeris has the section "roi.NAME"
    tools: Mapping[str, Mapping[str, tuple[Tool, ...]]]
    configs: Mapping[str, Config]  # of instruments that the project file names
    decided: Mapping[str, Config] = attrs.field(factory=dict)  # of instruments whose frames decided settings
    absent: tuple[Problem, ...] = ()  # plugins that the project file selects and that are not there

    @property
    def workdir(self) -> Path:
        """The folder in which products are written."""
        return self.config.workdir

    def config_for(self, instrument: str) -> Config:
        """Return the configuration for an instrument's frames."""
        return self.decided.get(instrument) or self.configs.get(instrument, self.config)

    def by_instrument(self) -> dict[str, Config]:
        """Return every configuration by the prefix of its section names: empty, or ``instrument."NAME".``."""
        return {"": self.config, **{f'instrument."{name}".': config for name, config in self.configs.items()}}

    def all(self, section: str, instrument: str = "") -> tuple[Tool, ...]:
        """Return the tools of a section in their order; empty where it is ``"none"``."""
        return self.tools.get(instrument, self.tools[""])[section]

    def tool(self, section: str, instrument: str = "") -> Tool | None:
        """Return the tool of a section that has at most one."""
        tools = self.all(section, instrument)
        return tools[0] if tools else None

    def ephemeris(self, roi: str) -> Tool | None:
        """Return what tells the place of a region's target, where it is not always that of the project file."""
        tool = self.tool(OF_REGION + roi)
        return None if tool is None or tool.name == FIXED else tool

    def identity(self, section: str, instrument: str = "") -> Components:
        """Return what a product depends on in a section: the core's settings and the selected plugins' identities."""
        settings = describe(getattr(self.config_for(instrument), section))
        tools = self.all(section, instrument)
        # A plugin may be called like an option of the section.
        named = {f"plugin {t.name}" if t.name in settings else t.name: t.identity() for t in tools}
        return {**settings, "plugin": [t.name for t in tools], **named}


def select(config: Config, plugins: Plugins, partly: bool = False) -> Toolbox:
    """Return the tools that a project file selects.

    Parameters
    ----------
    config : Config
        The project file.
    plugins : Plugins
        Those installed.
    partly : bool
        Whether plugins may be absent, so that results can be read; they are then in `Toolbox.absent`.

    Raises
    ------
    ConfigError
        Lists every plugin that is not installed and every option that is wrong.
    """
    problems: list[Problem] = []
    configs = {name: config.for_instrument(name) for name in config.instruments()}
    tools = {"": _tools(config, plugins, problems)}
    for name, special in configs.items():
        tools[name] = _tools(special, plugins, problems)
    check_executors(config, plugins, problems)
    absent = tuple(dict.fromkeys(p for p in problems if p.absent)) if partly else ()
    _raise_unless(absent, config, problems)
    return Toolbox(config, tools, configs, absent=absent)


def _raise_unless(absent: tuple[Problem, ...], config: Config, problems: list[Problem]) -> None:
    """Raise an error that lists problems, other than those that are allowed."""
    left = [p for p in dict.fromkeys(problems) if not (absent and p.absent)]
    if left:
        raise config.error(left)


def with_decisions(toolbox: Toolbox, plugins: Plugins, decisions: Mapping[str, Mapping[str, Any]]) -> Toolbox:
    """Return the tools with settings that frames decided, where the project file leaves them open.

    Parameters
    ----------
    toolbox : Toolbox
        By the project file alone.
    plugins : Plugins
        Those installed.
    decisions : mapping
        From instrument ('' for all) and dotted name to the value.

    Raises
    ------
    ConfigError
        Where a rule decided a value that its option does not allow.
    """
    regions = {f"roi.{name}." for name in toolbox.config.roi}
    shared = {
        name: value
        for name, value in decisions.get("", {}).items()
        if not name.startswith("roi.") or any(name.startswith(region) for region in regions)  # others are gone
    }

    def settled(config: Config, own: Mapping[str, Any]) -> Config:
        given = {**shared, **own}
        left_open = {name: value for name, value in given.items() if config.uses(name) and not config.states(name)}
        return config.with_settings(left_open) if left_open else config

    special = [name for name in decisions if name]
    decided = {name: settled(toolbox.configs.get(name, toolbox.config), decisions[name]) for name in special}
    config = settled(toolbox.config, {})
    configs = {name: settled(own, {}) for name, own in toolbox.configs.items()}
    problems: list[Problem] = []
    of_instrument = {"": config, **configs, **decided}
    tools = {name: _tools(own, plugins, problems) for name, own in of_instrument.items()}
    _raise_unless(toolbox.absent, config, problems)
    return Toolbox(config, tools, configs, decided, toolbox.absent)


def _tools(config: Config, plugins: Plugins, problems: list[Problem]) -> dict[str, tuple[Tool, ...]]:
    out: dict[str, tuple[Tool, ...]] = {}
    for section in selecting_sections(config):
        made = [_tool(config, plugins, section, name, problems) for name in _names(config, plugins, section)]
        out[section] = tuple(t for t in made if t is not None)
        _check_unselected(config, plugins, section, {t.name for t in out[section]}, problems)
    _check_aperture(config, out, problems)
    _check_discs(out, problems)
    return out


def _check_aperture(config: Config, tools: Mapping[str, tuple[Tool, ...]], problems: list[Problem]) -> None:
    """Report an aperture that stars or regions can't be measured with: both must be measured in the same way."""
    aperture, stamps = config.photometry.aperture, config.stamps
    if aperture == 0:
        return
    if 2 * aperture + 2 > min(stamps.star_size, stamps.roi_size):
        problems.append(Problem(
            "photometry.aperture",
            f"a radius of {aperture:g} pixels and the sky around it do not fit in stamps of star_size = "
            f"{stamps.star_size} and roi_size = {stamps.roi_size}: enlarge these, or take a smaller aperture",
        ))  # fmt: skip
    for tool in (*tools["photometry"], *tools["roi_model"]):
        if not (isinstance(tool.instance, MeasuresApertures) and tool.instance.apertures):
            in_discs = isinstance(tool.instance, MeasuresInDiscs | AppliesDiscs)
            problems.append(Problem(
                "photometry.aperture",
                f'[{tool.section}] plugin = "{tool.name}" measures {"discs of its own" if in_discs else "PSF fluxes"} '
                "alone; set aperture = 0, or choose one that adds what the PSF misses, so that stars and regions are "
                "measured alike",
            ))  # fmt: skip


def _check_discs(tools: Mapping[str, tuple[Tool, ...]], problems: list[Problem]) -> None:
    """Report stars that are measured in discs alone and regions that are not, or the reverse."""
    for stars in tools["photometry"]:
        for regions in tools["roi_model"]:
            in_discs = isinstance(stars.instance, MeasuresInDiscs)
            if in_discs == (isinstance(regions.instance, AppliesDiscs) and regions.instance.applies_discs):
                continue
            how = f'[photometry] plugin = "{stars.name}" measures stars {"in discs" if in_discs else "by the PSF"}'
            other = f'[roi_model] plugin = "{regions.name}" measures regions {"by the PSF" if in_discs else "in discs"}'
            remedy = (
                'Isolated sources: write [roi_model] and below it plugin = "aperture". Blends: leave [photometry] '
                'plugin out, or write plugin = "starred"'
                if in_discs
                else 'Isolated sources: write [photometry] and below it plugin = "aperture". Blends: leave [roi_model] '
                'plugin out, or write plugin = "starred" or "joint"'
            )
            problems.append(Problem(
                "photometry.plugin" if in_discs else "roi_model.plugin",
                f"{how}, but {other}: a frame's coefficient holds for fluxes of one kind. {remedy}",
            ))  # fmt: skip


def _names(config: Config, plugins: Plugins, section: str) -> list[str]:
    chosen = selected(config, section)
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    if section == "reduction" and names == [AUTO]:
        return [GENERIC_REDUCTION] if _calibration_files(config) else []
    if section == "header" and names == [AUTO]:
        specific = [o.name for o in plugins.offers("lcf_header_parsers") if o.name != GENERIC_PARSER]
        return [n for n in specific if _present(config, plugins, n)] + [GENERIC_PARSER]
    return names if seam_of(section).of_region else [n for n in names if n != "none"]  # a region is somewhere


def _calibration_files(config: Config) -> bool:
    """Return whether there are files that may calibrate frames; a folder that was named and is not there counts too.

    What kinds they are, and whether they are any, the reduction tells by their headers.
    """
    reduction = config.reduction
    if reduction.dirs != type(reduction)().dirs:
        return True  # its absence is an error, which the import reports
    folders = [resolve_path(name, config.directory) for name in reduction.dirs]
    return any(path.is_file() for folder in folders if folder.is_dir() for path in folder.glob(reduction.pattern))


def _present(config: Config, plugins: Plugins, name: str) -> bool:
    """Return whether the files that a header parser needs exist, so that ``auto`` can use it."""
    problems: list[Problem] = []
    tool = _tool(config, plugins, "header", name, problems)
    if tool is None:
        return True  # its errors are reported when it is selected
    paths = [v for f in attrs.fields(type(tool.instance)) if isinstance(v := getattr(tool.instance, f.name), Path)]
    return all(path.exists() for path in paths)


def _tool(config: Config, plugins: Plugins, section: str, name: str, problems: list[Problem]) -> Tool | None:
    option = option_of(section)
    where = f"[{section}] {option}"
    try:
        offer = plugins.get(seam_of(section).hook, name, where)
    except PluginError as error:
        problems.append(Problem(f"{section}.{option}", str(error), absent=True))
        return None
    instance = options(offer.cls, config.tables[section].get(name, {}), f"{section}.{name}", config, problems)
    if instance is None:
        return None
    try:
        pickle.dumps(instance)
    except Exception as error:
        why = f"{offer.source} can't be sent to worker processes ({error}): its options and attributes must be pickled"
        problems.append(Problem(f"{section}.{option}", f"{where}: {why}"))
        return None
    source = attrs.evolve(offer.source, seam=section)  # of a region's ephemeris: whose
    return Tool(section, name, instance, offer.results_version, source)


def options(cls: type[T], table: Mapping[str, Any], where: str, config: Config, problems: list[Problem]) -> T | None:
    """Return a plugin made from its table; the options `offline` and `cache_dir` get the settings of the run."""
    instance = structure(cls, table, where, config.directory, problems)
    if instance is None:
        return None
    known = attrs.fields_dict(cls)  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    if "offline" in known and config.run.offline:
        changes["offline"] = True
    if "cache_dir" in known and getattr(instance, "cache_dir", None) is None:
        changes["cache_dir"] = config.workdir / "cache"
    for option in (f for f in known.values() if f.init):  # a default path is relative to the project file too
        value = getattr(instance, option.name)
        if isinstance(value, Path) and not value.is_absolute() and option.name not in changes:
            changes[option.name] = config.directory / value
    return attrs.evolve(instance, **changes) if changes else instance  # type: ignore[misc]


def _check_unselected(config: Config, plugins: Plugins, section: str, made: set[str], problems: list[Problem]) -> None:
    for name, table in config.tables[section].items():
        if name in made:
            continue
        try:
            offer = plugins.get(seam_of(section).hook, name, f"[{section}.{name}]")
        except PluginError as error:
            if selected(config, section) != name:
                problems.append(Problem(f"{section}.{name}", str(error), absent=True))
        else:
            structure(offer.cls, table, f"{section}.{name}", config.directory, problems)
