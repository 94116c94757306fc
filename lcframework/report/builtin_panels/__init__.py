"""The panels of every report, one module for each subject."""

from __future__ import annotations

from lcframework.report.builtin_panels.ancestries import Ancestries
from lcframework.report.builtin_panels.calibration import Registrations, Transparency, ZeroPoints
from lcframework.report.builtin_panels.comparison_stars import ComparisonScatter
from lcframework.report.builtin_panels.conditions import Conditions, FitQuality
from lcframework.report.builtin_panels.frames import Frames, Unusable
from lcframework.report.builtin_panels.injections import Injections
from lcframework.report.builtin_panels.light_curves import LightCurves
from lcframework.report.builtin_panels.making import HowItWasMade
from lcframework.report.builtin_panels.overview import Overview
from lcframework.report.builtin_panels.roi_models import RoiModels

__all__ = [
    "Ancestries",
    "ComparisonScatter",
    "Conditions",
    "FitQuality",
    "Frames",
    "HowItWasMade",
    "Injections",
    "LightCurves",
    "Overview",
    "Registrations",
    "RoiModels",
    "Transparency",
    "Unusable",
    "ZeroPoints",
]
