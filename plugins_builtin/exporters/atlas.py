"""Light curves as tables like those of the ATLAS forced photometry server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault, Floats
from plugins_builtin.shared.exported_epochs import (
    SourceEpochs,
    epochs_of,
    files_by_source,
    in_name,
    one_source,
    parts_by_group,
    place_of,
    require_ab,
    require_calibrated,
    require_exposures,
)
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import write_lines

if TYPE_CHECKING:
    from astropy.table import Table

_NAMES = [
    "MJD", "m", "dm", "uJy", "duJy", "F", "err", "chi/N", "RA", "Dec", "x", "y", "maj", "min", "phi", "apfit",
    "mag5sig", "Sky", "Obs",
]  # fmt: skip
#: The AB magnitude of a microjansky.
_MICROJANSKY = 23.9


@attrs.frozen
class Atlas:
    """A table like that of ATLAS' forced photometry, under a line that begins with ``###MJD``; a file a source.

    MJD is the beginning of the exposure, as ATLAS has it, UTC. ``uJy`` and ``duJy`` keep every flux, negative ones too;
    ``m`` is their AB magnitude, nan without a positive flux. ``maj`` and ``min`` are the full width at half maximum of
    the stars in pixels, ``apfit`` is 0 because PSF fluxes hold all light, ``err`` the flags of the epoch, ``mag5sig``
    the depth, ``Sky`` nan. x and y count from 1.

    The columns are described at https://fallingstar-data.com/forcedphot/resultdesc/.
    """

    source: str = ""  # the source to write; empty: every one, in files of its own
    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "atlas.txt"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each source."""
        return files_by_source(light_curve, self.source, self.suffix)

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the epochs of one source.

        Raises
        ------
        UnusableInput
            Where there are several sources, exposure times are not known, or the magnitudes are not AB.
        """
        source = one_source(light_curve, self.source, "forced photometry")
        place = place_of(light_curve, source)
        rows = []
        for _, _, group in parts_by_group(light_curve):
            epochs = require_calibrated(require_exposures(epochs_of(group, source)))
            require_ab(epochs, "microjanskys need AB magnitudes")
            rows += self._rows(epochs, *place)
        lines = ["###" + " ".join(_NAMES), *(text for _, text in sorted(rows))]
        write_lines(path, lines)

    @staticmethod
    def _rows(epochs: SourceEpochs, ra: float, dec: float) -> list[tuple[float, str]]:
        unit = 10 ** (-0.4 * (epochs.zeropoint - _MICROJANSKY))
        start: Floats = epochs.mjd - epochs.exptime / 2 / 86400
        x, y, width = epochs.column("x") + 1, epochs.column("y") + 1, epochs.column("seeing_pixels")
        flags, chi2 = np.nan_to_num(epochs.column("flags")), epochs.column("reduced_chi2")
        found = []
        for i in range(len(start)):
            values = [
                f"{start[i]:.6f}", f"{epochs.mag[i]:.3f}", f"{epochs.mag_error[i]:.3f}",
                f"{epochs.flux[i] * unit[i]:.6g}", f"{epochs.flux_error[i] * unit[i]:.6g}",
                in_name(epochs.band), f"{flags[i]:.0f}", f"{chi2[i]:.2f}",
                f"{ra:.6f}", f"{dec:.6f}", f"{x[i]:.2f}", f"{y[i]:.2f}", f"{width[i]:.2f}", f"{width[i]:.2f}", "0.0",
                "0.000", f"{epochs.depth[i]:.2f}", "nan", in_name(str(epochs.frame[i])),
            ]  # fmt: skip
            found.append((float(start[i]), " ".join(values)))
        return found

    def recognises(self, path: Path) -> bool:
        """Return whether the first line begins as ATLAS' does."""
        return any(line.startswith("###MJD") for line in first_lines(path))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return missing columns, values that are no numbers, and magnitudes that are not those of the flux."""
        faults = Faults()
        lines = text_lines(path, faults)
        names = lines[0].removeprefix("###").split()
        faults.missing(names, _NAMES, 1)
        for number, line in enumerate(lines[1:], 2):
            row = faults.columns(line.split(), names, number)
            for name, value in row.items():
                if name == "MJD":
                    faults.modified_julian(value, number, name)
                elif name in ("uJy", "duJy"):
                    faults.number(value, number, name, 0.0 if name == "duJy" else -np.inf, np.inf, "an error")
                elif name not in ("F", "Obs") and value != "nan":
                    faults.number(value, number, name)
            if row and not faults.found and row["m"] != "nan" and float(row["uJy"]) > 0:
                expected = _MICROJANSKY - 2.5 * np.log10(float(row["uJy"]))
                if abs(float(row["m"]) - expected) > 0.02:
                    faults.add(f"{row['m']} is not the AB magnitude of {row['uJy']} uJy, {expected:.3f}", number, "m")
        return faults.found


@hookimpl
def lcf_exporters() -> dict[str, type[Atlas]]:
    """Offer the format."""
    return {"atlas": Atlas}
