"""Every hook of lcframework, in the order in which a run reaches them.

A hook named after a seam returns a mapping from names to attrs classes. The name is what ``plugin = "name"`` in the
project file picks; the class's fields are the options of ``[section.name]``; its methods do the work, and are stated
by the protocol that each hook below names (in :mod:`lcframework.protocols`).

A class may carry a class attribute ``results_version`` (an int, 1 where absent), raised when its answers change, so
that products made before are made again.
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

    Asked once a frame at import. With ``[header] plugin = "auto"`` every installed parser sees each header and at most
    one may claim it; the generic ``fits`` is asked only where none does.
    """
    raise NotImplementedError


@hookspec
def lcf_reductions() -> Classes:
    """Return ways to calibrate raw images by frames of the detector (:class:`~lcframework.protocols.Reduction`).

    At import: `describe` and `plan` see headers alone, in the driver; `combine` makes each master once, and `reduce`
    calibrates each frame, before it is converted to electrons and its sky is subtracted.
    """
    raise NotImplementedError


@hookspec
def lcf_background_estimators() -> Classes:
    """Return sky models (:class:`~lcframework.protocols.BackgroundEstimator`), used once a frame at import."""
    raise NotImplementedError


@hookspec
def lcf_source_extractors() -> Classes:
    """Return detectors of sources (:class:`~lcframework.protocols.SourceExtractor`).

    Used once a frame at import, on the sky-subtracted image. The table serves plate solving, the seeing, the
    registration and the masking of neighbours.
    """
    raise NotImplementedError


@hookspec
def lcf_plate_solvers() -> Classes:
    """Return plate solvers (:class:`~lcframework.protocols.PlateSolver`).

    Asked once a frame, in the order of ``[plate_solving] plugin``, until one solves. The core checks each answer
    against the project's pixel scale and anisotropy before it believes it.
    """
    raise NotImplementedError


@hookspec
def lcf_star_catalogs() -> Classes:
    """Return star catalogues (:class:`~lcframework.protocols.StarCatalog`), queried once a footprint."""
    raise NotImplementedError


@hookspec
def lcf_cosmic_maskers() -> Classes:
    """Return cosmic-ray detectors (:class:`~lcframework.protocols.CosmicMasker`), used on each frame's stamps."""
    raise NotImplementedError


@hookspec
def lcf_psf_models() -> Classes:
    """Return PSF models (:class:`~lcframework.protocols.PsfModel`), given batches of frames."""
    raise NotImplementedError


@hookspec
def lcf_photometry() -> Classes:
    """Return photometry of reference stars (:class:`~lcframework.protocols.Photometry`)."""
    raise NotImplementedError


@hookspec
def lcf_normalizations() -> Classes:
    """Return solvers of the frames' transparency (:class:`~lcframework.protocols.Normalization`).

    Called once per footprint, instrument and band, with every selected flux.
    """
    raise NotImplementedError


@hookspec
def lcf_calibration_surveys() -> Classes:
    """Return surveys (:class:`~lcframework.protocols.CalibrationSurvey`), asked once for all stars of a footprint."""
    raise NotImplementedError


@hookspec
def lcf_roi_models() -> Classes:
    """Return models of regions of interest (:class:`~lcframework.protocols.RoiModel`).

    Called once per region, instrument and band, with all epochs.
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

    Name the entry point ``command.NAME``: ``lcf --help`` lists it from the metadata alone, and the module is imported
    when the command is called.
    """
    raise NotImplementedError


@hookspec
def lcf_report_panels() -> Classes:
    """Return panels of the HTML report (:class:`lcframework.report.panels.Panel`)."""
    raise NotImplementedError


@hookspec
def lcf_event(event: RunEvent) -> None:
    """Be told of a run's progress, in the driver's process; an exception raised here is logged and ignored."""
    raise NotImplementedError
