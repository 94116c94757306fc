"""Which plugins a project uses, and why: its file names them, they are the default, or they are found by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lcframework.config.project_file import OF_REGION, Config
from lcframework.config.selections import option_of, seam_of
from lcframework.config.toolbox import AUTO, Tool, Toolbox
from lcframework.plugin_kit.option_docs import plain
from lcframework.plugins import SEAM_OF_SECTION, Plugins
from lcframework.project import Project
from lcframework.settings.deciding import rules
from lcframework.stages import CHAIN

NAMED, DEFAULT, BY_FRAMES, INSTALLED = "named", "default", "decided by frames", "installed"


@attrs.frozen
class Use:
    """A plugin that a project uses.

    Attributes
    ----------
    place : str
        The section of the project file, with the instrument where it has its own; else the hook.
    name : str
        The plugin; ``none`` where the section is to have none.
    origin : str
        Its package and version.
    why : str
        ``named`` by the project file; the ``default``; ``auto``: found by itself; ``installed``: takes part wherever it
        is installed; and what it rests on.
    options : dict
        The options that are not at their defaults, as JSON has them: value, and who gave it.
    """

    place: str
    name: str
    origin: str
    why: str
    options: Mapping[str, tuple[Any, str]] = attrs.field(factory=dict)


def uses(project: Project) -> list[Use]:
    """Return what a project uses: its sections' plugins in the order of the pipeline, then what else takes part."""
    with project.session():  # what frames decided so far
        toolbox = project.toolbox
    out = []
    for section in SEAM_OF_SECTION:
        for instrument, config in {"": toolbox.config, **toolbox.configs, **toolbox.decided}.items():
            if instrument and toolbox.all(section, instrument) == toolbox.all(section):
                continue
            place = f"[instrument.{instrument}.{section}]" if instrument else f"[{section}]"
            out += _of_section(place, section, toolbox.all(section, instrument), config, project.plugins)
    for name, roi in toolbox.config.roi.items():
        out += _of_region(name, roi.ephemeris, toolbox, project.plugins)
    return out + _others(project)


def _of_section(place: str, section: str, tools: tuple[Tool, ...], config: Config, plugins: Plugins) -> list[Use]:
    chosen = getattr(config, section).plugin
    stated = config.states(f"{section}.plugin")
    if chosen in (AUTO, [AUTO]):
        why = f"auto{', named' if stated else ', the default'}: what there is is used"
    else:
        why = NAMED if stated else DEFAULT
    if not tools:
        return [Use(place, "none", "", why)]
    hook = SEAM_OF_SECTION[section].hook
    origins = {offer.name: offer.origin for offer in plugins.offers(hook)}
    return [Use(place, t.name, origins.get(t.name, ""), why, _options(t, section, config)) for t in tools]


def _of_region(name: str, chosen: str, toolbox: Toolbox, plugins: Plugins) -> list[Use]:
    """Return the ephemeris of a region."""
    config, section = toolbox.config, OF_REGION + name
    why = NAMED if config.states(f"{section}.{option_of(section)}") else DEFAULT
    origins = {offer.name: offer.origin for offer in plugins.offers(seam_of(section).hook)}
    given = config.tables[section].get(chosen, {})
    options = {option: (value, "project file") for option, value in given.items()}
    return [Use(f"[{section}]", t.name, origins.get(t.name, ""), why, options) for t in toolbox.all(section)]


def _options(tool: Tool, section: str, config: Config) -> dict[str, tuple[Any, str]]:
    """Return the options of a plugin that someone gave: the project file, or frames."""
    out = {}
    for field in attrs.fields(type(tool.instance)):
        dotted = f"{section}.{tool.name}.{field.name}"
        if field.init and (config.states(dotted) or dotted in config.by_frames):
            by = BY_FRAMES if dotted in config.by_frames else "project file"
            out[field.name] = (plain(getattr(tool.instance, field.name)), by)
    return out


def _others(project: Project) -> list[Use]:
    """Return the stages, the executor, the rules, panels, exporters and listeners that take part."""
    plugins, config = project.plugins, project.config
    origins = {hook: {o.name: o.origin for o in plugins.offers(hook)} for hook in _HOOKS}
    asked = config.states("run.stages")
    out = [
        Use("lcf_stages", stage.name, origins["lcf_stages"].get(stage.name, ""), NAMED if asked else INSTALLED)
        for stage in project.stages
        if type(stage) not in CHAIN
    ]
    executor = config.run.executor
    why = NAMED if config.states("run.executor") else DEFAULT
    out.append(Use("[run] executor", executor, origins["lcf_executors"].get(executor, ""), why))
    for rule in rules(plugins):
        settings = ", ".join(rule.instance.settings)
        given = [s for s in rule.instance.settings if "*" not in s and config.states(s)]
        note = f" (the project file gives {', '.join(given)})" if given else ""
        origin = origins["lcf_setting_rules"].get(rule.name, "")
        out.append(Use("lcf_setting_rules", rule.name, origin, f"{INSTALLED}: decides {settings}{note}"))
    for hook, when in (("lcf_report_panels", "a section of every report"), ("lcf_exporters", "lcf export --format")):
        out += [Use(hook, name, origin, f"{INSTALLED}: {when}") for name, origin in origins[hook].items()]
    listeners = [p for p in plugins.plugins if "lcf_event" in p.hooks]
    return out + [Use("lcf_event", p.name, p.origin, f"{INSTALLED}: hears of every run") for p in listeners]


_HOOKS = ("lcf_stages", "lcf_executors", "lcf_setting_rules", "lcf_report_panels", "lcf_exporters")
