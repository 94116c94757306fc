"""Every hook of lcframework, in the order in which a run reaches them.

Most hooks return a mapping from names to attrs classes. ``plugin = "name"`` in the project file selects the class with
that name. The attributes of the class are the options of ``[section.name]``. Its methods are defined by the protocol
(in :mod:`lcframework.protocols`) that the hook names below.

A class may have the class attribute ``results_version`` (an int, 1 where absent). Authors increase it when results
change; products of earlier versions are then made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from lcframework.types import RunEvent

PROJECT = "lcframework"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Classes = Mapping[str, type[Any]]


@hookspec
def lcf_header_parsers() -> Classes:
    """Return parsers of raw frames' headers (:class:`~lcframework.protocols.HeaderParser`).

    Called once for each frame at import. With ``[header] plugin = "auto"`` every installed parser gets each header, and
    at most one may accept it. The generic parser ``fits`` is called only where no other parser accepts the header.
    """
    raise NotImplementedError


@hookspec
def lcf_reductions() -> Classes:
    """Return reductions of raw images with calibration frames (:class:`~lcframework.protocols.Reduction`).

    Used at import. `describe` and `plan` run in the driver and get only headers; `combine` makes each master once, and
    `reduce` calibrates each frame, before it is converted to electrons and its sky is subtracted.
    """
    raise NotImplementedError


@hookspec
def lcf_background_estimators() -> Classes:
    """Return sky models (:class:`~lcframework.protocols.BackgroundEstimator`), used once for each frame at import."""
    raise NotImplementedError


@hookspec
def lcf_source_extractors() -> Classes:
    """Return detectors of sources (:class:`~lcframework.protocols.SourceExtractor`).

    Used once for each frame at import, on the sky-subtracted image. The table serves plate solving, the seeing, the
    registration and the masking of neighbours.
    """
    raise NotImplementedError


@hookspec
def lcf_plate_solvers() -> Classes:
    """Return plate solvers (:class:`~lcframework.protocols.PlateSolver`).

    Called for each frame in the order of ``[plate_solving] plugin``, until one solves it. The core checks the pixel
    scale and the anisotropy of each solution before it accepts it.
    """
    raise NotImplementedError


@hookspec
def lcf_ephemerides() -> Classes:
    """Return ephemerides of targets (:class:`~lcframework.protocols.Ephemeris`).

    Called with the times of the frames of one telescope together, where ``[roi.NAME] ephemeris`` names the class; its
    options are in ``[roi.NAME.name]``.
    """
    raise NotImplementedError


@hookspec
def lcf_star_catalogs() -> Classes:
    """Return star catalogues (:class:`~lcframework.protocols.StarCatalog`), queried once for each field."""
    raise NotImplementedError


@hookspec
def lcf_variable_catalogs() -> Classes:
    """Return catalogues of variable stars (:class:`~lcframework.protocols.VariableCatalog`), asked once a field."""
    raise NotImplementedError


@hookspec
def lcf_cosmic_maskers() -> Classes:
    """Return cosmic-ray detectors (:class:`~lcframework.protocols.CosmicMasker`), used on each frame's stamps."""
    raise NotImplementedError


@hookspec
def lcf_psf_models() -> Classes:
    """Return PSF models (:class:`~lcframework.protocols.PsfModel`), which fit batches of frames."""
    raise NotImplementedError


@hookspec
def lcf_comparison_stars() -> Classes:
    """Return choices of the stars to measure (:class:`~lcframework.protocols.ComparisonStars`).

    Called once for each frame and field, where ``[photometry] stars`` is a number.
    """
    raise NotImplementedError


@hookspec
def lcf_photometry() -> Classes:
    """Return photometry of reference stars (:class:`~lcframework.protocols.Photometry`)."""
    raise NotImplementedError


@hookspec
def lcf_normalizations() -> Classes:
    """Return solvers for the relative transparency of frames (:class:`~lcframework.protocols.Normalization`).

    Called once for each field, instrument and band, with all selected fluxes.
    """
    raise NotImplementedError


@hookspec
def lcf_calibration_surveys() -> Classes:
    """Return surveys (:class:`~lcframework.protocols.CalibrationSurvey`), queried once for all stars of a field."""
    raise NotImplementedError


@hookspec
def lcf_roi_models() -> Classes:
    """Return models of regions of interest (:class:`~lcframework.protocols.RoiModel`).

    Called once for each region, instrument and band, with all epochs.
    """
    raise NotImplementedError


@hookspec
def lcf_setting_rules() -> Classes:
    """Return rules for settings that the project file leaves open (:class:`~lcframework.protocols.SettingRule`).

    Called in the driver before the stage that a rule names, once for each instrument, until the decision is frozen.
    Two rules for one setting are an error.
    """
    raise NotImplementedError


@hookspec
def lcf_stages() -> Classes:
    """Return stages: subclasses of :class:`lcframework.work.Stage` that name another in ``after``."""
    raise NotImplementedError


@hookspec
def lcf_exporters() -> Classes:
    """Return writers of light curves (:class:`~lcframework.protocols.Exporter`) for ``lcf export --format``."""
    raise NotImplementedError


@hookspec
def lcf_executors() -> Classes:
    """Return ways to run units of work (:class:`lcframework.executors.Executor`) for ``[run] executor``."""
    raise NotImplementedError


@hookspec
def lcf_commands() -> Mapping[str, Any]:
    """Return click commands to add to ``lcf``.

    Name the entry point ``command.NAME``. ``lcf --help`` lists the command from the metadata of the package; the module
    is imported only when the command is called.
    """
    raise NotImplementedError


@hookspec
def lcf_report_panels() -> Classes:
    """Return panels of the HTML report (:class:`lcframework.report.panels.Panel`)."""
    raise NotImplementedError


@hookspec
def lcf_event(event: RunEvent) -> None:
    """Receive an event of a run, in the driver's process; an exception raised here is logged and ignored."""
    raise NotImplementedError
