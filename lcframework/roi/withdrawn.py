"""Moves files that belong to no product any more out of ``prepared_roi_cutouts/``, so that none is used as a result."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.roi.cutout_files import FIT_ENDINGS, FOLDER, PREFIX, WITHDRAWN, stem, stem_of, with_digest
from lcframework.roi.light_curves import TABLE_ENDINGS
from lcframework.storage.tables import Product
from lcframework.work import Entry, FitKey, Ledger, LightCurveKey, ProductState, RegionGroupKey

RegionBand = tuple[str, str, str]  # region, instrument and band


def withdraw_cutouts(ledger: Ledger, stage: str, workdir: Path) -> None:
    """Move the files of cutouts that belong to no product any more."""
    groups = ledger.keyed(stage, RegionGroupKey)
    kept = {stem_of(p.path) for p in groups.values() if _is_there(p)}
    _set_aside(workdir, [f"{PREFIX}{name}.h5" for name in _names(map(_group, groups), kept)])


def withdraw_fits(session: Session, ledger: Ledger, cutouts: str, stage: str, workdir: Path) -> None:
    """Move the files of fits and tables that belong to no product any more, and delete the products of these fits.

    So a group whose cutouts are made again unchanged is fitted again, because the files of its fit were moved.
    """
    prepared = {_group(key): p for key, p in ledger.keyed(cutouts, RegionGroupKey).items()}
    fits = {_group(key): p for key, p in ledger.keyed(stage, FitKey).items()}
    current = {group for group, p in prepared.items() if _is_there(p)}
    kept = {
        Path(p.path).name.removesuffix(FIT_ENDINGS[0]) for group, p in fits.items() if group in current and _is_there(p)
    }
    left = [str(FitKey(*group)) for group in fits if group in prepared and group not in current]
    if left:
        session.execute(sa.delete(Product).where(col(Product.stage) == stage, col(Product.unit).in_(left)))
    files = [name + ending for name in _names({*prepared, *fits}, kept) for ending in FIT_ENDINGS]
    for key, product in ledger.keyed(stage, LightCurveKey).items():
        if not _is_there(product):
            files += [key.roi + ending for ending in TABLE_ENDINGS]
    _set_aside(workdir, files)


def _group(key: RegionGroupKey | FitKey) -> RegionBand:
    return key.roi, key.instrument, key.band


def _is_there(product: Entry) -> bool:
    return product.state in (ProductState.MADE, ProductState.FORCED) and bool(product.path)


def _names(groups: Iterable[RegionBand], kept: set[str]) -> list[str]:
    """Return the file names that these groups may have had, without those that are in use now."""
    taken = {name.casefold() for name in kept}
    found = []
    for group in groups:
        plain = stem(*group)
        found += [n for n in (plain, with_digest(plain, group)) if n.casefold() not in taken]
    return found


def _set_aside(workdir: Path, names: Iterable[str]) -> None:
    """Move files to the folder `WITHDRAWN`, and delete files there that have been made again."""
    folder = workdir / FOLDER
    aside = folder / WITHDRAWN
    for name in names:
        if (folder / name).exists():
            aside.mkdir(exist_ok=True)
            os.replace(folder / name, aside / name)
    for path in aside.glob("*") if aside.exists() else ():
        if (folder / path.name).exists():
            path.unlink()
