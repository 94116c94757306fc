"""An AAVSO sequence: the comparison stars of a chart, with the names by which other observers know them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.sky import geometry
from lcframework.types import LcfError

if TYPE_CHECKING:
    from lcframework.storage.tables import Star

#: Julian year of the positions of charts.
_EPOCH = 2000.0
_KEYS = ("auid", "ra", "dec", "label")


@attrs.frozen
class SequenceStar:
    """A comparison star of a chart.

    Attributes
    ----------
    auid : str
        The AAVSO's identifier, such as 000-BBC-123.
    label : str
        What the chart calls it: its magnitude without the full stop, such as 118.
    ra, dec : float
        Degrees, ICRS, at 2000.0.
    """

    auid: str
    label: str
    ra: float
    dec: float

    @property
    def name(self) -> str:
        """The name for reports: the identifier, or the label where there is none."""
        return self.auid or self.label


@attrs.frozen
class StarSequence:
    """The stars of a chart.

    Attributes
    ----------
    chart : str
        The chart's name, such as X16962MQ.
    stars : tuple of SequenceStar
        Its comparison stars.
    """

    chart: str
    stars: tuple[SequenceStar, ...]

    def named(self, reference: Iterable[Star], radius: float) -> dict[str, SequenceStar]:
        """Return the star of the sequence that each reference star is, by the latter's identifier.

        Parameters
        ----------
        reference : iterable of Star
            Reference stars.
        radius : float
            Arcsec within which a reference star is a star of the sequence; each is the nearest one.
        """
        stars = list(reference)
        found: dict[str, SequenceStar] = {}
        if not stars:
            return found
        columns = ("ra", "dec", "pmra", "pmdec", "ref_epoch")
        ra, dec, pmra, pmdec, epoch = (np.array([getattr(s, c) for s in stars], float) for c in columns)
        ra, dec = geometry.after_years(ra, dec, pmra, pmdec, _EPOCH - epoch)
        for known in self.stars:
            distance = geometry.separation(ra, dec, known.ra, known.dec)
            i = int(np.argmin(distance))
            if distance[i] <= radius:
                found.setdefault(stars[i].gaia_id, known)
        return found


def read_sequence(path: Path) -> StarSequence:
    """Read the photometry table of a chart of the AAVSO's Variable Star Plotter.

    It is the JSON that ``https://apps.aavso.org/vsp/api/chart/?format=json`` answers, or a table that astropy reads,
    with the columns auid, ra, dec and label, and the chart's name as ``chartid`` in its metadata or as the file's name.
    Angles are sexagesimal, or degrees.

    Raises
    ------
    LcfError
        Where there is no such file, or it is none of these.
    """
    where = f"[sequence] path: {path}"
    if not path.is_file():
        raise LcfError(f"{where}: there is no such file")
    try:
        rows, chart = _of_json(path) if path.suffix.lower() == ".json" else _of_table(path)
        stars = tuple(_star(row) for row in rows)
    except LcfError:
        raise
    except (KeyError, ValueError, TypeError, OSError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"can't be read: {error}"
        raise LcfError(f"{where} {reason}. It must be a chart's JSON, or a table with {', '.join(_KEYS)}") from None
    if not stars:
        raise LcfError(f"{where}: it has no stars")
    return StarSequence(chart, stars)


def _of_json(path: Path) -> tuple[list[Mapping[str, Any]], str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["photometry"], str(content["chartid"])


def _of_table(path: Path) -> tuple[list[Mapping[str, Any]], str]:
    from astropy.io.ascii import convert_numpy
    from astropy.table import Table

    if path.suffix.lower() == ".ecsv":
        table = Table.read(path, format="ascii.ecsv")
    else:  # as texts: a label such as 099 must keep its 0
        table = Table.read(path, format="ascii", converters={"*": [convert_numpy(str)]})
    rows: list[Mapping[str, Any]] = [{name.lower(): row[name] for name in table.colnames} for row in table]
    return rows, str(table.meta.get("chartid") or path.stem)


def _star(row: Mapping[str, Any]) -> SequenceStar:
    from astropy.coordinates import Angle

    ra, dec = str(row["ra"]).strip(), str(row["dec"]).strip()
    hours = any(sign in ra for sign in ":h ")
    right, up = Angle(ra, unit="hourangle" if hours else "deg"), Angle(dec, unit="deg")
    label = row.get("label")
    return SequenceStar(str(row["auid"]).strip(), "" if label is None else str(label), right.degree, up.degree)
