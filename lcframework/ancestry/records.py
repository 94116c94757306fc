"""The rows of the database that some frames' numbers come from, read at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from lcframework.ancestry.published import Published
from lcframework.ancestry.surroundings import Surroundings
from lcframework.project import Project
from lcframework.running.doubts import PROJECT
from lcframework.storage.queries import FrameRow, active_stars, frame_rows
from lcframework.storage.tables import Frame, Product, ProductState
from lcframework.work import FieldGroupKey, FrameKey

#: A row of a table for reading, with its columns as attributes.
Row = Any


@attrs.frozen(eq=False)
class Records:
    """What the database says of some frames, of their groups and of the project.

    Rows of the tables are by their keys: `frames` and `runs` by id; `regions` by (frame, region); `psfs` and
    `coefficients` by (frame, field); `at_regions`, coefficients at regions, by (frame, field, region); the stars'
    `placed`, `fluxes` and `residuals` by (frame, field), then by star; `stars` by (field, star); `zeropoints` and
    `estimators` by (field, instrument, band); `levels` the same, then by star; `products` by (stage, unit);
    `exposures`, the calibration frames, by name.
    """

    around: Surroundings
    frames: Mapping[int, Row]
    regions: Mapping[tuple[int, str], Row]
    polygons: Mapping[int, Row]
    fields: Sequence[Row]
    stars: Mapping[tuple[str, str], Row]
    placed: Mapping[tuple[int, str], Mapping[str, Row]]
    psfs: Mapping[tuple[int, str], Row]
    fluxes: Mapping[tuple[int, str], Mapping[str, Row]]
    residuals: Mapping[tuple[int, str], Mapping[str, Row]]
    coefficients: Mapping[tuple[int, str], Row]
    at_regions: Mapping[tuple[int, str, str], Row]
    levels: Mapping[FieldGroupKey, Mapping[str, Row]]
    zeropoints: Mapping[FieldGroupKey, Row]
    estimators: Mapping[FieldGroupKey, Row]
    products: Mapping[tuple[str, str], Row]
    exposures: Mapping[str, Row]
    runs: Mapping[int, Row]
    doubts: Sequence[Row]

    @property
    def project(self) -> Project:
        """The project."""
        return self.around.project

    @property
    def published(self) -> Published:
        """What the files of the light curves hold."""
        return self.around.published

    def field_of(self, roi: str) -> Row | None:
        """Return the field of a region's reference stars, or None where there is none yet."""
        return next((f for f in self.fields if roi in f.rois), None)

    def coefficient(self, frame_id: int, field: str, roi: str) -> Row | None:
        """Return the coefficient of a frame at a region, or None where it has none."""
        return self.at_regions.get((frame_id, field, roi), self.coefficients.get((frame_id, field)))

    def product(self, stage: str, unit: object) -> Row | None:
        """Return the product of a unit, or None where it has none."""
        return self.products.get((stage, str(unit)))

    def run_of(self, product: Row | None) -> Row | None:
        """Return the run that made a product."""
        return None if product is None or product.run_id is None else self.runs.get(product.run_id)


def components_of(product: Row | None) -> Mapping[str, Any]:
    """Return what a product's fingerprint was made of; nothing where there is no product."""
    return (product.components or {}) if product is not None else {}


def file_of(product: Row | None) -> str:
    """Return the path of a product's file; empty where there is no product."""
    return product.path if product is not None else ""


def read_records(session: Session, frame_ids: Collection[int], around: Surroundings) -> Records:
    """Read what the database says of some frames.

    Parameters
    ----------
    session : Session
        One of :meth:`Project.session`, which only reads.
    frame_ids : collection of int
        The rows of ``frames``.
    around : Surroundings
        What all frames of the project share.
    """
    ids = list(frame_ids)
    fields = [f for f in session.execute(sa.select(_table("combined_footprint"))) if f.active]
    frames: dict[int, FrameRow] = {f.id: f for f in frame_rows(session, col(Frame.id).in_(ids))}
    where = {name: _of_frames(session, name, ids) for name in _OF_STARS}
    return Records(
        around=around,
        frames=frames,
        regions={(r.frame_id, r.roi): r for r in _of_frames(session, "rois_in_frames", ids)},
        polygons={r.frame_id: r for r in _of_frames(session, "footprints", ids)},
        fields=sorted(fields, key=lambda f: str(f.hash)),
        stars=active_stars(session),
        psfs={_key(r): r for r in _of_frames(session, "PSFs", ids)},
        coefficients={_key(r): r for r in _of_frames(session, "normalization_coefficients", ids)},
        at_regions={(*_key(r), r.roi): r for r in _of_frames(session, "region_coefficients", ids)},
        levels=_by_star(_every(session, "star_levels"), _group),
        zeropoints={_group(r): r for r in _every(session, "absolute_zeropoints")},
        estimators={_group(r): r for r in _every(session, "estimator_weights")},
        products=_products(session, ids, [f.hash for f in fields]),
        exposures={r.name: r for r in _every(session, "exposures") if r.role == "calibration"},
        runs={r.id: r for r in _every(session, "runs")},
        doubts=_doubts(session, ids),
        **{attribute: _by_star(where[name], _key) for name, attribute in _OF_STARS.items()},
    )


#: Tables with a row for each star in a frame, and the attributes that hold them.
_OF_STARS = {"stars_in_frames": "placed", "star_flux_in_frame": "fluxes", "star_residuals": "residuals"}


def _table(name: str) -> sa.Table:
    return SQLModel.metadata.tables[name]


def _every(session: Session, name: str) -> Sequence[Row]:
    return session.execute(sa.select(_table(name))).all()


def _of_frames(session: Session, name: str, ids: Collection[int]) -> Sequence[Row]:
    table = _table(name)
    return session.execute(sa.select(table).where(table.c.frame_id.in_(ids))).all()


def _key(row: Row) -> tuple[int, str]:
    return row.frame_id, row.combined_footprint_hash


def _group(row: Row) -> FieldGroupKey:
    return FieldGroupKey(row.combined_footprint_hash, row.instrument, row.band)


def _by_star(rows: Sequence[Row], key: Any) -> dict[Any, dict[str, Row]]:
    found: dict[Any, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(key(row), {})[row.gaia_id] = row
    return found


def _products(session: Session, ids: Sequence[int], fields: Sequence[str]) -> dict[tuple[str, str], Row]:
    """Return the products of some frames, and all that are of no single frame."""
    unit = col(Product.unit)
    keys = [str(FrameKey(i, field)) for i in ids for field in ("", *fields)]
    concerned = sa.or_(sa.not_(unit.like(f"{FrameKey.prefix}:%")), unit.in_(keys))
    rows = session.execute(sa.select(_table("products")).where(concerned))
    return {(row.stage, row.unit): row for row in rows}


def _doubts(session: Session, ids: Sequence[int]) -> list[Row]:
    """Return the doubts about some frames, about what is of no single frame, and about the project."""
    doubts, products = _table("doubts"), _table("products")
    of_product = sa.and_(products.c.stage == doubts.c.stage, products.c.unit == doubts.c.unit)
    query = (
        sa.select(doubts)
        .outerjoin(products, of_product)
        .where(sa.or_(doubts.c.frame_id.is_(None), doubts.c.frame_id.in_(ids)))
        .where(sa.or_(doubts.c.stage == PROJECT, products.c.state == ProductState.MADE.value))
    )
    return list(session.execute(query))
