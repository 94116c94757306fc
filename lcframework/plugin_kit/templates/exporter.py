"""A format of light curves for lcframework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number
from lcframework.types import source_names

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class PluginClass:
    """Plain columns: time, magnitude and error of each source."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "txt"  # the files' ending

    digits: int = attrs.field(default=4, validator=whole_number(1, 10))  # decimals of magnitudes

    def export(self, light_curve: Table, path: Path) -> None:
        """Write a region's light curve per epoch; its columns are those of ``<roi>_photometry_per_epoch.ecsv``."""
        # CHECK: the columns, the time scale and the missing values that your format wants.
        sources = source_names(light_curve.colnames)
        lines = ["# bjd_tdb " + " ".join(f"{s} {s}_error" for s in sources)]
        columns = [np.asarray(light_curve["bjd_tdb"], float)]
        for source in sources:
            up, down = (np.asarray(light_curve[f"{source}_d_mag_{d}"], float) for d in ("up", "down"))
            columns += [np.asarray(light_curve[f"{source}_mag"], float), np.maximum(up, down)]
        for time, *values in zip(*columns, strict=True):
            lines.append(f"{time:.6f} " + " ".join(f"{value:.{self.digits}f}" for value in values))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@hookimpl
def lcf_exporters() -> dict[str, type]:
    """Offer it as ``lcf export PROJECT --format plugin_name``."""
    return {"plugin_name": PluginClass}
