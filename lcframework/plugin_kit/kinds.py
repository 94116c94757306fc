"""The kinds of plugins, by the word that ``lcf plugins new`` takes for each."""

from __future__ import annotations

import attrs

from lcframework.options import nearest
from lcframework.plugins import SEAM_OF_SECTION
from lcframework.types import LcfError


@attrs.frozen
class Kind:
    """A kind of plugin.

    Attributes
    ----------
    word : str
        Its name in commands; of a section's plugins, the section.
    hook : str
        The hook that offers it.
    prefix : str
        What its entry points' names begin with; a command's must be ``command.``.
    what : str
        What it is, in words.
    use : str
        How it is used, with ``{name}`` for its own.
    """

    word: str
    hook: str
    prefix: str
    what: str
    use: str


def _of_section(section: str, prefix: str, what: str) -> Kind:
    return Kind(section, SEAM_OF_SECTION[section].hook, prefix, what, f'[{section}]\nplugin = "{{name}}"')


KINDS: tuple[Kind, ...] = (
    _of_section("header", "header-", "a header parser"),
    _of_section("reduction", "reduction-", "a reduction of raw frames"),
    _of_section("background", "background-", "a model of the sky"),
    _of_section("sources", "sources-", "a source extractor"),
    _of_section("plate_solving", "solver-", "a plate solver"),
    Kind("ephemeris", "lcf_ephemerides", "ephemeris-", "an ephemeris", '[roi.TARGET]\nephemeris = "{name}"'),
    _of_section("stars", "catalog-", "a star catalogue"),
    _of_section("variables", "variables-", "a catalogue of variable stars"),
    _of_section("cosmics", "cosmics-", "a cosmic-ray detector"),
    _of_section("psf", "psf-", "a PSF model"),
    _of_section("comparison_stars", "comparison-stars-", "a choice of comparison stars"),
    _of_section("photometry", "photometry-", "photometry of stars"),
    _of_section("normalization", "normalization-", "a normalization"),
    _of_section("calibration", "survey-", "a calibration survey"),
    _of_section("roi_model", "roi-", "a model of regions of interest"),
    Kind("setting_rule", "lcf_setting_rules", "setting-", "a rule for a setting",
         "# installed, it decides its setting where the project file leaves it open: `lcf settings`"),
    Kind("stage", "lcf_stages", "stage-", "a stage of the pipeline",
         "[run]\nstages = [\"{name}\"]\n\n# the stage's options\n[{name}]"),
    Kind("exporter", "lcf_exporters", "exporter-", "a format of light curves",
         "# lcf export project.toml --format {name}"),
    Kind("executor", "lcf_executors", "executor-", "a way to run units of work", '[run]\nexecutor = "{name}"'),
    Kind("command", "lcf_commands", "command.", "a command", "# lcf {name} project.toml"),
    Kind("report_panel", "lcf_report_panels", "panel-", "a panel of the report", "# lcf report project.toml"),
    Kind("listener", "lcf_event", "listener-", "a listener to the events of runs", "# it hears of every run"),
)  # fmt: skip


def find_kind(word: str) -> Kind:
    """Return a kind of plugin by its word, its hook, or the beginning of its entry points.

    Raises
    ------
    LcfError
        Names those there are.
    """
    asked = word.lower().replace("-", "_")
    for kind in KINDS:
        names = {kind.word, kind.hook, kind.hook.removeprefix("lcf_"), kind.prefix.rstrip("-.").replace("-", "_")}
        if asked in names or asked.removesuffix("s") in names:
            return kind
    known = [kind.word for kind in KINDS]
    raise LcfError(f'no kind of plugin is called "{word}"{nearest(word, known) or "."} Kinds: {", ".join(known)}')
