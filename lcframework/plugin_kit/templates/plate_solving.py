"""A plate solver for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.types import NotSolved, PlateSolution, SolveHint, SourceTable


@attrs.frozen
class PluginClass:
    """Takes the WCS that the frame's header has, as it is.

    The core judges every answer by `pixel_scale`, `max_anisotropy` and, with `verify`, the catalogue's stars.
    """

    results_version: ClassVar[int] = 1  # raise it when answers change
    needs_position: ClassVar[bool] = False  # True: ask again with the place of each region
    needs_stars: ClassVar[bool] = False  # True: `hint.stars` holds the catalogue's stars of the field

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the WCS of a frame with these sources, as a header, or why there is none."""
        # CHECK: replace this by your solver. It gets the frame's sources (x, y from 0, brightest have most flux).
        if hint.header is None or "CTYPE1" not in hint.header:
            return NotSolved("the header has no WCS; let another solver find it: [plate_solving] plugin")
        return PlateSolution(hint.header.copy())


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer it as ``[plate_solving] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
