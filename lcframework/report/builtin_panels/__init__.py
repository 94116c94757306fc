"""The panels of every report, one module for each subject."""

from __future__ import annotations

from lcframework.report.builtin_panels.ancestries import Ancestries
from lcframework.report.builtin_panels.calibration import Registrations, Transparency, ZeroPoints
from lcframework.report.builtin_panels.comparison_stars import ComparisonScatter
from lcframework.report.builtin_panels.conditions import Conditions, FitQuality
from lcframework.report.builtin_panels.delays import TimeDelays
from lcframework.report.builtin_panels.frames import Frames, Unusable
from lcframework.report.builtin_panels.injections import Injections
from lcframework.report.builtin_panels.light_curves import LightCurves
from lcframework.report.builtin_panels.making import HowItWasMade
from lcframework.report.builtin_panels.overview import Overview
from lcframework.report.builtin_panels.pictures import RegionPictures
from lcframework.report.builtin_panels.roi_models import RoiModels
from lcframework.report.builtin_panels.sky import FindingCharts, PsfFields

__all__ = [
    "Ancestries",
    "ComparisonScatter",
    "Conditions",
    "FindingCharts",
    "FitQuality",
    "Frames",
    "HowItWasMade",
    "Injections",
    "LightCurves",
    "Overview",
    "PsfFields",
    "RegionPictures",
    "Registrations",
    "RoiModels",
    "TimeDelays",
    "Transparency",
    "Unusable",
    "ZeroPoints",
]
