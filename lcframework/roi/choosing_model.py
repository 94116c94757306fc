"""The model that a region is measured by, and the discs that the comparison stars are measured in."""

from __future__ import annotations

import attrs

from lcframework.config.toolbox import Tool, Toolbox
from lcframework.protocols import MeasuresInDiscs, MeasuresMovingTargets
from lcframework.types import Discs


def model_of(toolbox: Toolbox, roi: str, instrument: str) -> Tool | None:
    """Return the model of a region in an instrument's frames: where the target moves, its form for that.

    A background that is fixed in the cutouts holds for a target that stays where it is among stars and galaxies. Behind
    one that moves, the sky moves.
    """
    tool = toolbox.tool("roi_model", instrument)
    if tool is None or toolbox.ephemeris(roi) is None or not knows_motion(tool):
        return tool
    return attrs.evolve(tool, instance=tool.ask("for_moving_target"))


def knows_motion(tool: Tool) -> bool:
    """Return whether a model has a form for targets that move."""
    return isinstance(tool.instance, MeasuresMovingTargets)


def discs_of(toolbox: Toolbox, instrument: str) -> Discs | None:
    """Return the discs of an instrument's photometry, where it measures in discs alone."""
    tool = toolbox.tool("photometry", instrument)
    return tool.instance.discs if tool is not None and isinstance(tool.instance, MeasuresInDiscs) else None
