"""What ``lcf doctor PROJECT`` checks: the files of all products, and the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.storage.product_files import mark_damaged
from lcframework.storage.readable import why_unreadable
from lcframework.storage.regions_file import REGIONS
from lcframework.storage.seals import Seal, wrong
from lcframework.storage.tables import ProductState

#: Columns whose values are those of another table's column, as (table, column, other table, its column).
_REFERENCES = (
    *((name, "frame_id", "frames", "id") for name in (
        "footprints", "rois_in_frames", "stars_in_frames", "PSFs", "star_flux_in_frame", "estimator_scales",
        "normalization_coefficients", "region_coefficients", "star_residuals", "doubts",
    )),
    *((name, "combined_footprint_hash", "combined_footprint", "hash") for name in (
        "stars", "stars_in_frames", "PSFs", "star_flux_in_frame", "normalization_coefficients", "region_coefficients",
        "absolute_zeropoints",
    )),
    ("products", "run_id", "runs", "id"),
)  # fmt: skip


@attrs.frozen
class Checkup:
    """What is wrong with a project's products.

    Attributes
    ----------
    files : int
        How many files were checked.
    damaged : dict of str to str
        What is wrong with a file, by its path relative to the workdir.
    without_digest : int
        How many of the files an earlier version made: only whether they can be read is known.
    database : tuple of str
        What is wrong with the database.
    """

    files: int
    damaged: dict[str, str]
    without_digest: int
    database: tuple[str, ...]


def check_project(session: Session, workdir: Path) -> Checkup:
    """Check the files of all products by size, digest and a reader, and the database; nothing is written."""
    tables = SQLModel.metadata.tables
    products, files = tables["products"], tables["product_files"]
    made = products.c.state == ProductState.MADE.value
    same = sa.and_(files.c.stage == products.c.stage, files.c.unit == products.c.unit)
    query = sa.select(files.c.path, files.c.size, files.c.digest).join(products, same).where(made)
    sealed = {path: (size, digest) for path, size, digest in session.execute(query)}
    other = sa.select(products.c.path).where(made, products.c.path != "")
    unsealed = {path for (path,) in session.execute(other)} - sealed.keys()
    if (workdir / REGIONS).exists():
        unsealed.add(REGIONS)  # joined of other products: it has no digest
    unsealed |= {path for path, (size, _) in sealed.items() if size is None}
    damaged = {}
    for path in sorted(sealed.keys() | unsealed):
        if why := _wrong(workdir, path, *sealed.get(path, (None, ""))):
            damaged[path] = why
    return Checkup(len(sealed.keys() | unsealed), damaged, len(unsealed - {REGIONS}), tuple(_database(session)))


def mark(session: Session, workdir: Path, checkup: Checkup) -> int:
    """Have the next run make damaged products again; return for how many files it will not, because none made them."""
    owned = mark_damaged(session, {path: why for path, why in checkup.damaged.items() if path != REGIONS})
    session.commit()
    if REGIONS in checkup.damaged:
        (workdir / REGIONS).unlink(missing_ok=True)  # it is joined again where it is not there
    return len(checkup.damaged.keys() - owned.keys() - {REGIONS})


def _wrong(workdir: Path, path: str, size: int | None, digest: str) -> str:
    try:
        found = wrong(workdir, Seal(path, size, digest)) if size is not None else ""
    except OSError as error:
        return f"it can't be read: {error.strerror or error}"
    return found or why_unreadable(workdir / path)


def _database(session: Session) -> Iterator[str]:
    """Yield what is wrong with the database."""
    if session.get_bind().dialect.name == "sqlite":
        found = [row[0] for row in session.execute(sa.text("PRAGMA integrity_check"))]
        if found != ["ok"]:
            yield f"SQLite's integrity check: {'; '.join(found[:3])}"
    for name, column, other_name, other_column in _REFERENCES:
        table, other = SQLModel.metadata.tables[name], SQLModel.metadata.tables[other_name]
        there = sa.exists().where(other.c[other_column] == table.c[column])
        count = session.execute(
            sa.select(sa.func.count()).select_from(table).where(table.c[column].is_not(None), ~there)
        ).scalar_one()
        if count:
            yield f"{count} rows of {name} refer to rows of {other_name} that are not there ({column})"
