"""Photometry and discovery reports for the Transient Name Server."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, true_or_false
from lcframework.types import FileFault, UnusableInput
from plugins_builtin.shared.aavso_filters import filter_named
from plugins_builtin.shared.exported_epochs import (
    SourceEpochs,
    epochs_of,
    files_by_source,
    one_source,
    parts_by_group,
    place_of,
    require_ab,
    require_calibrated,
    require_exposures,
    require_own_band,
)
from plugins_builtin.shared.file_faults import Faults, first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import whole_file

if TYPE_CHECKING:
    from astropy.table import Table

#: The TNS's numbers of filters by the AAVSO's codes.
FILTERS = {
    "CV": "1", "U": "10", "B": "11", "V": "12", "R": "13", "I": "14", "J": "15", "H": "16", "K": "17",
    "SU": "20", "SG": "21", "SR": "22", "SI": "23", "SZ": "24", "Y": "25",
}  # fmt: skip
_AB = "1"
_PHOTOMETRY = (
    "obsdate", "flux", "flux_error", "limiting_flux", "flux_units", "filter_value", "instrument_value", "exptime",
    "observer", "comments",
)  # fmt: skip
_NON_DETECTION = (
    "obsdate", "limiting_flux", "flux_units", "filter_value", "instrument_value", "exptime", "observer",
)  # fmt: skip
_REPORT = (
    "ra", "dec", "reporting_group_id", "discovery_data_source_id", "reporter", "discovery_datetime", "at_type",
    "non_detection", "photometry",
)  # fmt: skip


@attrs.frozen
class Tns:
    """The TNS's photometry as CSV, or a whole discovery (AT) report as the JSON that its bulk-report API takes.

    Names and numbers are the API's: ``obsdate`` is UTC, of the middle of the exposure; ``flux`` an AB magnitude
    (``flux_units`` 1); an epoch below `min_signal` has no flux, and that many sigma above it (or above 0) as
    ``limiting_flux``. The report takes the first detection as the discovery, and the last epoch before it as the
    non-detection.

    The format is described in the TNS' Bulk Reports manual, https://www.wis-tns.org/content/tns-getting-started; the
    numbers of groups, instruments and filters are in https://www.wis-tns.org/api/values. The manual of TNS 2.0 (January
    2025) calls five keys otherwise (``reporting_groupid``, ``data_source_groupid``, ``flux_unitid``, ``filterid``,
    ``instrumentid``); reports of surveys with the names that are written here were taken in January 2026.
    """

    instrument: int = 0  # the TNS's number of the instrument; 0: other
    observer: str = ""  # who observed
    source: str = ""  # the source to write; empty: every one, in files of its own
    filters: Mapping[str, str] = attrs.field(factory=dict)  # band of the light curve = the TNS's number of its filter
    min_signal: float = attrs.field(default=5.0, validator=positive)  # sigma of a detection
    report: bool = attrs.field(default=False, validator=true_or_false)  # a discovery report instead of a table
    reporter: str = ""  # of a report: names and affiliations
    group: int = 0  # of a report: the TNS's number of the reporting group
    data_source: int = 0  # of a report: the TNS's number of the group whose data these are; 0: the reporting group
    at_type: int = 1  # of a report: 1 possible supernova, 2 possible nova, 3 AGN, 4 nucleus, 0 other
    internal_name: str = ""  # of a report: your name of the transient
    archive: str = ""  # of a report without an earlier epoch: what older image shows nothing, in words
    results_version: ClassVar[int] = 2

    @property
    def suffix(self) -> str:
        """The ending: a table is CSV, a report JSON."""
        return "tns.json" if self.report else "tns.csv"

    def files(self, light_curve: Table) -> Mapping[str, Table]:
        """Return a file for each source."""
        return files_by_source(light_curve, self.source, self.suffix)

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the epochs of one source, or a report of it.

        Raises
        ------
        UnusableInput
            Where there are several sources, a band has no filter, the magnitudes are not AB or are those of another
            band, or a report lacks what it needs.
        """
        source = one_source(light_curve, self.source, "the TNS")
        rows = []
        for _, _, group in parts_by_group(light_curve):
            epochs = require_calibrated(require_exposures(epochs_of(group, source)))
            require_ab(epochs, "the TNS is sent AB magnitudes here")
            require_own_band(epochs, self.filters)
            rows += self._rows(epochs)
        rows.sort(key=lambda row: row["obsdate"])
        if self.report:
            text = json.dumps({"at_report": {"0": self._report(light_curve, source, rows)}}, indent=2) + "\n"
        else:
            stream = io.StringIO()
            writer = csv.DictWriter(stream, _PHOTOMETRY, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            text = stream.getvalue()
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _rows(self, epochs: SourceEpochs) -> list[dict[str, str]]:
        from astropy.time import Time

        number = filter_named(epochs.band, self.filters, FILTERS, "the TNS")
        dates = Time(epochs.mjd, format="mjd", scale="utc", precision=3)
        seen, limits = epochs.flux >= self.min_signal * epochs.flux_error, epochs.limits(self.min_signal)
        return [
            {
                "obsdate": str(dates[i].iso),
                "flux": f"{epochs.mag[i]:.3f}" if seen[i] else "",
                "flux_error": f"{epochs.mag_error[i]:.3f}" if seen[i] else "",
                "limiting_flux": f"{(epochs.depth if seen[i] else limits)[i]:.2f}".replace("nan", ""),
                "flux_units": _AB, "filter_value": number, "instrument_value": str(self.instrument),
                "exptime": f"{epochs.exptime[i]:g}", "observer": self.observer, "comments": "",
            }
            for i in range(len(epochs.mjd))
        ]  # fmt: skip

    def _report(self, light_curve: Table, source: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        ra, dec = place_of(light_curve, source)
        if not self.reporter or not self.group:
            raise UnusableInput('a report needs -o reporter="Names (affiliations)" and -o group=NUMBER')
        first = next((n for n, row in enumerate(rows) if row["flux"]), None)
        if first is None:
            raise UnusableInput(
                f"{source} is below {self.min_signal:g} sigma in all epochs: there is nothing to report"
            )
        if first:
            nothing = {name: rows[first - 1][name] for name in _NON_DETECTION}
        elif self.archive:
            nothing = {"archiveid": "0", "archival_remarks": self.archive}
        else:
            raise UnusableInput(
                'no epoch is before the first detection: say what older image shows nothing, -o archive="..."'
            )
        detections = [row for row in rows[first:] if row["flux"]]
        return {
            "ra": {"value": f"{ra:.6f}"}, "dec": {"value": f"{dec:.6f}"},
            "reporting_group_id": str(self.group), "discovery_data_source_id": str(self.data_source or self.group),
            "reporter": self.reporter, "discovery_datetime": detections[0]["obsdate"], "at_type": str(self.at_type),
            "internal_name": self.internal_name, "non_detection": nothing,
            "photometry": {"photometry_group": {str(n): dict(row) for n, row in enumerate(detections)}},
        }  # fmt: skip

    def recognises(self, path: Path) -> bool:
        """Return whether the file is a table with the TNS's names, or a report."""
        head = first_lines(path, 3)
        return bool(head) and (head[0].startswith("obsdate,") or '"at_report"' in "".join(head))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return names that are missing, dates, and magnitudes or limits that are none."""
        faults = Faults()
        lines = text_lines(path)
        if not lines[0].startswith("obsdate,"):
            _check_report(faults, path)
            return faults.found
        names = next(csv.reader(lines[:1]))
        faults.missing(names, _PHOTOMETRY, 1)
        for number, values in enumerate(csv.reader(lines[1:]), 2):
            row = faults.columns(values, names, number)
            if row:
                _check_photometry(faults, row, number)
        return faults.found


def _check_photometry(faults: Faults, row: Mapping[str, str], number: int) -> None:
    """Note what is wrong in one point of photometry."""
    from astropy.time import Time

    try:
        Time(row.get("obsdate", ""), format="iso", scale="utc")
    except ValueError:
        faults.add(f'"{row.get("obsdate", "")}" is no date such as 2024-02-29 03:25:59.123', number, "obsdate")
    for name in ("flux", "flux_error", "limiting_flux"):
        if row.get(name):
            faults.number(row[name], number, name, 0.0 if name == "flux_error" else -30.0, 50.0, "a magnitude")
    for name in ("flux_units", "filter_value", "instrument_value"):
        if not row.get(name, "").isdigit():
            faults.add(f'"{row.get(name, "")}" is no number of the TNS', number, name)
    if not row.get("flux") and not row.get("limiting_flux"):
        faults.add("neither a flux nor a limit", number, "flux")


def _check_report(faults: Faults, path: Path) -> None:
    try:
        reports = json.loads(path.read_text(encoding="utf-8"))["at_report"]
    except ValueError as error:
        faults.add(f"no JSON: {error}", getattr(error, "lineno", 0))
        return
    for key, report in reports.items():
        faults.missing(report, _REPORT, 0, f"report {key}:")
        for name, high in (("ra", 360.0), ("dec", 90.0)):
            value = str(report.get(name, {}).get("value", ""))
            faults.number(value, 0, f"{name} of report {key}", -90.0 if name == "dec" else 0.0, high, "degrees")
        points = report.get("photometry", {}).get("photometry_group", {})
        if not points:
            faults.add(f"report {key} has no photometry")
        for row in points.values():
            _check_photometry(faults, row, 0)


@hookimpl
def lcf_exporters() -> dict[str, type[Tns]]:
    """Offer the format."""
    return {"tns": Tns}
