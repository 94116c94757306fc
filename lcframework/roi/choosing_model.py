"""The model that a region is measured by."""

from __future__ import annotations

import attrs

from lcframework.config.toolbox import Tool, Toolbox
from lcframework.protocols import MeasuresMovingTargets


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
