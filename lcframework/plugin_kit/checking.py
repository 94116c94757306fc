"""Runs the conformance suites on what is installed."""

from __future__ import annotations

import functools
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from lcframework import testing
from lcframework.config.project_file import OF_REGION, Config, load
from lcframework.config.structuring import Problem
from lcframework.config.survey_bands import USUAL
from lcframework.config.toolbox import options
from lcframework.plugin_kit.inventory import COMMANDS_HOOK, Listed, section_or_hook
from lcframework.plugins import SEAM_OF_HOOK, Offer, Plugins
from lcframework.protocols import UsesNetwork
from lcframework.types import LcfError, NeedMissing, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


class NotRun(Exception):
    """A suite needs more than it was given; the message says what."""


@attrs.frozen
class Finding:
    """What a suite says of an offer.

    Attributes
    ----------
    what : str
        The offer.
    suite : str
        The suite's name in :mod:`lcframework.testing`.
    outcome : str
        ``passed``, ``failed`` or ``not run``.
    text : str
        Why, and what to do; empty where it passed.
    seconds : float
    """

    what: str
    suite: str
    outcome: str
    text: str = ""
    seconds: float = 0.0


@attrs.frozen
class Given:
    """What suites may be given to check by.

    Attributes
    ----------
    config : Config, optional
        The project whose options, region and band are used.
    headers : list of (Path, Header)
        Headers of frames that a header parser is to read.
    network : bool
        Whether services on the network may be asked.
    """

    config: Config | None = None
    headers: list[tuple[Path, fits.Header]] = attrs.field(factory=list)
    network: bool = False


def given(plugins: Plugins, project: Path | None, frames: Path | None, pattern: str, network: bool) -> Given:
    """Read what suites are to check by.

    Raises
    ------
    LcfError
        Where the project file is wrong, or there is no such frame.
    """
    from lcframework.running.chain import stage_names
    from lcframework.settings.deciding import open_settings

    config = load(project, stage_names(plugins), open_settings(plugins)) if project else None
    return Given(config, read_headers(frames, pattern) if frames else [], network)


def read_headers(folder: Path, pattern: str) -> list[tuple[Path, fits.Header]]:
    """Return the merged headers of a folder's files, as a header parser gets them.

    Raises
    ------
    LcfError
        Where no file matches, or none can be read.
    """
    from lcframework.config.sections import Frames
    from lcframework.frames.raw_frames import read_doubted_header

    paths = sorted(p for p in folder.glob(pattern) if p.is_file())
    if not paths:
        raise LcfError(f'no file in {folder} matches "{pattern}"; give --pattern')
    found, reasons = [], []
    for path in paths:
        try:
            found.append((path, read_doubted_header(path, Frames())[0]))
        except UnusableInput as error:
            reasons.append(str(error))
    if not found:
        raise LcfError(f"no file in {folder} can be read: {reasons[0]}")
    return found


def check_plugin(listed: Listed, by: Given, name: str = "") -> list[Finding]:
    """Return what the suites say of what a plugin offers: of one offer where `name` is its name, else of all."""
    plugin = listed.plugin
    out = [Finding("loading", "", FAILED, problem) for problem in plugin.problems]
    named = [offer for offer in plugin.offers if offer.name == name]
    for offer in named or plugin.offers:
        suite, check = _suite(offer, by)
        out.append(_run(f"{section_or_hook(offer)} {offer.name}", suite, check))
    if named:
        return out
    for name, command in listed.commands.items():
        check = functools.partial(testing.check_command, command, name)
        out.append(_run(f"{COMMANDS_HOOK} {name}", "check_command", check))
    if "lcf_event" in plugin.hooks:
        listener = vars(sys.modules[plugin.module])["lcf_event"]
        out.append(_run("lcf_event", "check_listener", lambda: testing.check_listener(listener)))
    return out


def _run(what: str, suite: str, check: Callable[[], Any]) -> Finding:
    started = time.perf_counter()
    try:
        said = check()
        outcome, text = PASSED, said if isinstance(said, str) else ""
    except AssertionError as error:
        outcome, text = FAILED, str(error)
    except (NotRun, NeedMissing) as error:
        outcome, text = NOT_RUN, str(error)
    except UnusableInput as error:
        outcome, text = FAILED, f"it refuses what it must be able to use: {error}"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome, text = FAILED, f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
    return Finding(what, suite, outcome, text, time.perf_counter() - started)


def _suite(offer: Offer, by: Given) -> tuple[str, Callable[[], Any]]:
    """Return the suite of an offer: its name, and a function that runs it."""
    of_class = {
        "lcf_stages": "check_stage",
        "lcf_executors": "check_executor",
        "lcf_report_panels": "check_report_panel",
    }
    if offer.hook in of_class:
        suite = of_class[offer.hook]
        return suite, lambda: getattr(testing, suite)(offer.cls)
    suite, check = _OF_INSTANCE[offer.hook]
    return suite, lambda: check(_instance(offer, by), by)


def _instance(offer: Offer, by: Given) -> Any:
    section = SEAM_OF_HOOK[offer.hook].section
    if by.config is not None and SEAM_OF_HOOK[offer.hook].of_region:
        named = [name for name, roi in by.config.roi.items() if roi.ephemeris == offer.name]
        section = OF_REGION + named[0] if named else ""
    if by.config is None or not section:
        return offer.cls()
    problems: list[Problem] = []
    table = by.config.tables[section].get(offer.name, {})
    made = options(offer.cls, table, f"{section}.{offer.name}", by.config, problems)
    if made is None:
        raise by.config.error(problems)
    return made


def _needs_no_network(plugin: Any, by: Given) -> None:
    if isinstance(plugin, UsesNetwork) and not by.network:
        testing.check_plugin_class(plugin)
        raise NotRun("it asks services on the network: its class is as it should be; give --network to ask them")


def _header(plugin: Any, by: Given) -> str:
    if not by.headers:
        try:
            testing.check_header_parser(plugin)
            its_own = plugin.parse(_example(), Path("example.fits")) is not None
        except UnusableInput as error:  # as one may that knows no telescope but its own
            raise NotRun(f"it refuses a header that is not its own: {error}; give --frames with its own") from None
        return (
            "" if its_own else "it declines a header that is not its own; --frames FOLDER checks how it reads its own"
        )
    own, refused = [], []
    for path, header in by.headers:
        try:
            if plugin.parse(header, path) is not None:
                own.append((path, header))
        except UnusableInput as error:
            refused.append(f"{path.name}: {error}")
    others = f"; it refused {len(refused)}, the first of them {refused[0]}" if refused else ""
    if not own:
        who, declined = type(plugin).__name__, len(by.headers) - len(refused)
        what = f"declined (None) each of the {declined} files" if declined else "reads no file"
        raise AssertionError(f"{who}: {what}{others}")
    for path, header in own:
        testing.check_header_parser(plugin, header, path)
    return f"it reads {len(own)} of {len(by.headers)} files{others}"


def _example() -> fits.Header:
    from lcframework.testing.conformance.imports import example_header

    return example_header()


def _ephemeris(plugin: Any, by: Given) -> None:
    """Check it at times of the suite's; one that has no place then is checked in its own package's tests."""
    try:
        testing.check_ephemeris(plugin)
    except (NeedMissing, UnusableInput) as error:
        testing.check_plugin_class(plugin)
        raise NotRun(f"{error}; test it in its package at times for which it has places") from None


def _catalog(plugin: Any, by: Given) -> None:
    from lcframework.types import Region

    _needs_no_network(plugin, by)
    testing.check_plugin_class(plugin)
    if by.config is None:
        raise NotRun("where it has stars is not known: give --project, whose first region it is asked for")
    roi = next(iter(by.config.roi.values()))
    testing.check_star_catalog(plugin, Region(roi.ra, roi.dec, by.config.stars.radius / 3600.0))


def _variables(plugin: Any, by: Given) -> None:
    from lcframework.types import Region

    _needs_no_network(plugin, by)
    roi = next(iter(by.config.roi.values())) if by.config is not None else None
    region = Region(150.0, -28.0, 0.1) if roi is None else Region(roi.ra, roi.dec, 0.1)
    try:
        testing.check_variable_catalog(plugin, region)
    except NeedMissing as error:
        testing.check_plugin_class(plugin)
        raise NotRun(f"{error}; give --project with its options") from None


def _survey(plugin: Any, by: Given) -> None:
    from lcframework.testing.conformance.scenes import field

    _needs_no_network(plugin, by)
    if by.config is None:
        band, stars = USUAL, field().stars
    else:
        roi = next(iter(by.config.roi.values()))
        band, stars = by.config.calibration.band_of(""), field(roi.ra, roi.dec).stars
    try:
        known = len(plugin.magnitudes(stars, band))
    except UnusableInput as error:
        testing.check_plugin_class(plugin)
        raise NotRun(f"{error}; give --project with a [calibration] band that it has") from None
    if not known:
        raise NotRun(
            "it knows none of the stars that the suite makes up; test it on stars of its own, as its package can"
        )
    testing.check_calibration_survey(
        plugin, stars, band, unknown_band=None if hasattr(plugin, "path") else "no such band"
    )


def _roi_model(plugin: Any, by: Given) -> str:
    """Check it on point sources alone; that it does not part them from a galaxy is no fault, but said."""
    testing.check_roi_model(plugin, galaxy=False)
    try:
        testing.check_roi_model(plugin)
    except AssertionError as error:
        return f"for regions without extended light; with a galaxy under its sources: {error}"
    return ""


def _exporter(plugin: Any, by: Given) -> None:
    with tempfile.TemporaryDirectory() as folder:
        testing.check_exporter(plugin, Path(folder) / f"curve.{getattr(plugin, 'suffix', 'txt')}")


def _solver(plugin: Any, by: Given) -> None:
    _needs_no_network(plugin, by)
    testing.check_plate_solver(plugin, solves=False)


def _plain(name: str) -> tuple[str, Callable[[Any, Given], Any]]:
    return name, lambda plugin, by: getattr(testing, name)(plugin)


_OF_INSTANCE: dict[str, tuple[str, Callable[[Any, Given], Any]]] = {
    "lcf_header_parsers": ("check_header_parser", _header),
    "lcf_reductions": _plain("check_reduction"),
    "lcf_background_estimators": _plain("check_background_estimator"),
    "lcf_source_extractors": _plain("check_source_extractor"),
    "lcf_plate_solvers": ("check_plate_solver", _solver),
    "lcf_ephemerides": ("check_ephemeris", _ephemeris),
    "lcf_star_catalogs": ("check_star_catalog", _catalog),
    "lcf_variable_catalogs": ("check_variable_catalog", _variables),
    "lcf_cosmic_maskers": _plain("check_cosmic_masker"),
    "lcf_psf_models": _plain("check_psf_model"),
    "lcf_comparison_stars": _plain("check_comparison_stars"),
    "lcf_photometry": _plain("check_photometry"),
    "lcf_normalizations": _plain("check_normalization"),
    "lcf_calibration_surveys": ("check_calibration_survey", _survey),
    "lcf_roi_models": ("check_roi_model", _roi_model),
    "lcf_setting_rules": _plain("check_setting_rule"),
    "lcf_exporters": ("check_exporter", _exporter),
}


def failed(findings: Iterable[Finding]) -> bool:
    """Return whether any suite failed, or none was run."""
    outcomes = [f.outcome for f in findings]
    return FAILED in outcomes or PASSED not in outcomes
