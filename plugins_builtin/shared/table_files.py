"""Reading a user's own table, in any format that astropy reads, through a mapping of its columns."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.types import Floats, NeedMissing, UnusableInput, check_fits_sizes, open_packed
from plugins_builtin.shared.star_tables import nearest_name, plain_floats

if TYPE_CHECKING:
    from astropy.table import Table

#: astropy's names of formats, tried in turn for an extension that does not decide.
_ANY_FORMAT = ("fits", "votable", "ascii.ecsv", "ascii", "semicolons")
_NO_VALUES = np.dtype([("x", float)])  # of columns that are no plain arrays, such as positions in one
_SEMICOLONS = {"format": "ascii.basic", "delimiter": ";"}  # as spreadsheets write CSV where the comma is decimal
_BY_SUFFIX = {
    ".fits": ("fits",),
    ".fit": ("fits",),
    ".fz": ("fits",),
    ".ecsv": ("ascii.ecsv",),
    ".csv": ("ascii.ecsv", "ascii.csv", "ascii", "semicolons"),
    ".tsv": ("ascii.tab",),
    ".tab": ("ascii.tab",),
    ".vot": ("votable",),
    ".votable": ("votable",),
    ".xml": ("votable",),
    ".parquet": ("parquet",),
    ".hdf5": ("hdf5",),
    ".h5": ("hdf5",),
}


def read_table(path: Path, option: str) -> Table:
    """Read a table.

    Parameters
    ----------
    path : Path
        The file.
    option : str
        Which option names it, for messages.

    Raises
    ------
    NeedMissing
        Where there is no such file.
    UnusableInput
        Where it can't be read as a table, or has no row.
    """
    from astropy.table import Table

    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise NeedMissing(
            f"{option}: the table {path} {what}. Name a file that astropy reads (FITS, ECSV, CSV, VOTable)."
        )
    suffixes = [s.lower() for s in path.suffixes]
    suffix = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in (".gz", ".bz2", ".xz") else (suffixes or [""])[-1]
    check_fits_sizes(path)
    reasons = []
    for name in _BY_SUFFIX.get(suffix, _ANY_FORMAT):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # units and metadata that bend a standard do not matter here
                table = Table.read(_source(path, name), **(_SEMICOLONS if name == "semicolons" else {"format": name}))
        except Exception as error:  # each reader has its own kinds
            reasons.append(f"as {name}: {' '.join(str(error).split())[:160] or type(error).__name__}")
            continue
        if len(table.colnames) < 2:  # text split at the wrong character
            reasons.append(f"as {name}: a single column {table.colnames}")
            continue
        if len(table) == 0:
            raise UnusableInput(f"{option}: the table {path} has no rows.")
        return table
    raise UnusableInput(f"{option}: {path} can't be read as a table ({'; '.join(reasons)}).")


@attrs.frozen
class ColumnMapping:
    """Which column of a table holds which quantity."""

    path: Path  # of the table, for messages
    option: str  # that holds the mapping, for messages
    names: Mapping[str, str]  # quantity -> column, defaults and the user's together
    explicit: frozenset[str]  # quantities whose column the user chose
    needed: frozenset[str]  # quantities without which the table is useless

    @classmethod
    def of(
        cls, path: Path, option: str, given: Mapping[str, str], default: Mapping[str, str], needed: Iterable[str]
    ) -> ColumnMapping:
        """Lay a user's mapping over the default; a column that differs from the default counts as the user's choice."""
        explicit = frozenset(q for q, column in given.items() if default.get(q) != column)
        return cls(Path(path), option, {**default, **given}, explicit, frozenset(needed))

    def column(self, table: Table, quantity: str) -> Any | None:
        """Return a quantity's column; None where it is optional, its name is the default, and it is absent.

        Raises
        ------
        NeedMissing
            Where the table lacks a column that is needed, or that the user named.
        UnusableInput
            Where the column has several values in each row.
        """
        name = self.names[quantity]
        if name in table.colnames:
            column = table[name]
            if getattr(column, "ndim", 1) != 1 or getattr(column, "dtype", _NO_VALUES).kind == "V":
                raise UnusableInput(
                    f"{self.path}: the column {name!r} for {quantity} has several values in each row, where one is "
                    f"needed. Name a column of single values in {self.option} {quantity}."
                )
            if column.dtype.kind == "S":
                try:
                    np.char.decode(np.ma.getdata(column), "utf-8")
                except UnicodeDecodeError as error:
                    raise UnusableInput(
                        f"{self.path}: the column {name!r} for {quantity} is no text ({error})."
                    ) from None
            return column
        if quantity not in self.needed and quantity not in self.explicit:
            return None
        raise NeedMissing(
            f"{self.path} has no column {name!r} for {quantity}{nearest_name(name, table.colnames)} "
            f"It has {', '.join(table.colnames)}. Name the right one in {self.option} {quantity}."
        )

    def numbers(self, table: Table, quantity: str, unit: str = "") -> Floats | None:
        """Return a quantity's numbers, nan where masked or blank, in `unit` where its column states a unit.

        Raises
        ------
        NeedMissing
            As :meth:`column`.
        UnusableInput
            Where the column holds anything but numbers, or its unit can't become `unit`.
        """
        column = self.column(table, quantity)
        if column is None:
            return None
        try:
            values = plain_floats(_blank_as_nan(column))
        except (ValueError, TypeError) as error:
            raise UnusableInput(
                f"{self.path}: the column {self.names[quantity]!r} for {quantity} does not hold numbers ({error})."
            ) from error
        return self._converted(values, column, quantity, unit)

    def needed_numbers(self, table: Table, quantity: str, unit: str) -> Floats:
        """Return :meth:`numbers` of a quantity without which the table is useless."""
        values = self.numbers(table, quantity, unit)
        if values is None:
            raise ValueError(f"{quantity} is not among the needed quantities {sorted(self.needed)}")
        return values

    def angles(self, table: Table, quantity: str) -> Floats:
        """Return the degrees of a needed quantity, ``ra`` or ``dec``: numbers in any angular unit, or sexagesimal text.

        Sexagesimal right ascensions are hours, as everywhere.
        """
        from astropy.coordinates import Angle

        column = self.column(table, quantity)
        if np.asarray(column).dtype.kind in "USO":
            try:
                return plain_floats(_blank_as_nan(column))
            except (ValueError, TypeError):
                pass
            text = self.texts(table, quantity) or []
            try:
                unit = "hourangle" if quantity == "ra" else "deg"
                return np.array([Angle(value, unit=unit).deg if value.strip() else np.nan for value in text])
            except Exception as error:  # Angle has many kinds
                raise UnusableInput(
                    f"{self.path}: the column {self.names[quantity]!r} for {quantity} holds neither numbers nor "
                    f"sexagesimal angles ({error})."
                ) from error
        return self.needed_numbers(table, quantity, "deg")

    def check_declinations(self, dec: Floats) -> None:
        """Refuse declinations beyond the poles; nan are none.

        Raises
        ------
        UnusableInput
            Names the first of them.
        """
        beyond = np.abs(dec) > 90.0
        if beyond.any():
            row = int(np.argmax(beyond))
            raise UnusableInput(
                f"{self.path}: row {row + 1} has a declination of {dec[row]:g} degrees; "
                f"are ra and dec swapped in {self.option}?"
            )

    def texts(self, table: Table, quantity: str) -> list[str] | None:
        """Return a quantity's values as texts, whole numbers without a decimal point."""
        column = self.column(table, quantity)
        if column is None:
            return None
        values = np.ma.filled(np.ma.asarray(column).astype(object), "")
        return [str(value.decode() if isinstance(value, bytes) else value).strip() for value in values]

    def _converted(self, values: Floats, column: Any, quantity: str, unit: str) -> Floats:
        from astropy import units as u

        stated = getattr(column, "unit", None)
        if not unit or stated is None or str(stated) in ("", unit):
            return values
        try:
            return np.asarray((values * u.Unit(stated)).to_value(unit), float)
        except (u.UnitConversionError, ValueError, TypeError) as error:
            raise UnusableInput(
                f"{self.path}: the column {self.names[quantity]!r} for {quantity} is in {str(stated)!r}, "
                f"which can't become {unit!r}."
            ) from error


def _source(path: Path, name: str) -> Path | io.BytesIO:
    """Return what is to be read: of a packed FITS file the contents, as astropy takes the packed length for all."""
    packed = open_packed(path) if name == "fits" else None
    if packed is None:
        return path
    with packed:
        return io.BytesIO(packed.read())


def _blank_as_nan(column: Any) -> Any:
    """Return a column of text with its blanks made nan, so that it converts to numbers."""
    values = np.ma.asarray(column)
    if values.dtype.kind not in "USO":
        return values
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in np.ma.filled(values, "nan")]
    return np.array([text.strip() or "nan" for text in texts])
