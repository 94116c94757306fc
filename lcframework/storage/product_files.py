"""The table ``product_files``: products' files as they were written, whose they are, and which are damaged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.storage.seals import Seal
from lcframework.storage.tables import Frame, Product, ProductFile

#: The number of paths in one query; databases limit it.
_AT_ONCE = 500


@attrs.frozen
class KnownFile:
    """A row of the table, as :class:`~lcframework.storage.tables.ProductFile`."""

    path: str
    stage: str
    unit: str
    size: int | None
    digest: str
    damage: str


_TABLE = SQLModel.metadata.tables["product_files"]
_COLUMNS = [_TABLE.c[column.name] for column in attrs.fields(KnownFile)]
#: These statements are carried out for each unit: they are made once.
_OF_PATHS = sa.select(*_COLUMNS).where(_TABLE.c.path.in_(sa.bindparam("paths", expanding=True)))
_CONCERNED = sa.or_(
    sa.and_(_TABLE.c.stage == sa.bindparam("of_stage"), _TABLE.c.unit == sa.bindparam("of_unit")),
    _TABLE.c.path.in_(sa.bindparam("paths", expanding=True)),
)
_BEFORE = sa.select(*_COLUMNS).where(_CONCERNED)


def files_of_stage(session: Session, stage: str) -> Mapping[str, Sequence[KnownFile]]:
    """Return the recorded files of a stage's products, by the texts of their unit keys."""
    found: dict[str, list[KnownFile]] = {}
    for row in session.execute(sa.select(*_COLUMNS).where(_TABLE.c.stage == stage)):
        found.setdefault(row.unit, []).append(KnownFile(*row))
    return found


def known_files(session: Session, paths: Collection[str]) -> dict[str, KnownFile]:
    """Return the rows of those of some files, given by their paths relative to the workdir, that have one."""
    every, found = list(paths), {}
    for i in range(0, len(every), _AT_ONCE):
        for row in session.connection().execute(_OF_PATHS, {"paths": every[i : i + _AT_ONCE]}):
            found[row.path] = KnownFile(*row)
    return found


def record_files(
    session: Session, stage: str, needs: Sequence[str], unit: str, files: Sequence[Seal], path: str = ""
) -> None:
    """Record the files that a unit has written, and forget others of it; nothing is committed.

    Parameters
    ----------
    session : Session
        On the project's database.
    stage, unit : str
        Who wrote them.
    needs : sequence of str
        The stages whose products it reads: a file of the same unit that it rewrote remains theirs.
    files : sequence of Seal
        The files; none where the unit could not be made.
    path : str
        The one of them that is the product: it is never another stage's.
    """
    connection = session.connection()
    concerned = {"of_stage": stage, "of_unit": unit, "paths": [f.path for f in files]}
    before = connection.execute(_BEFORE, concerned).all()
    owners = {row.path: row.stage for row in before}
    if needs and any(f.path != path and f.path not in owners for f in files):
        earlier = sa.select(Product.path, Product.stage).where(  # type: ignore[call-overload]
            col(Product.stage).in_(needs), Product.unit == unit
        )
        owners |= {path: owner for path, owner in connection.execute(earlier) if path and path not in owners}
    if before:
        connection.execute(sa.delete(_TABLE).where(_CONCERNED), concerned)
    if files:
        rows = [{"stage": owners.get(f.path, stage), "unit": unit, "damage": "", **attrs.asdict(f)} for f in files]
        connection.execute(sa.insert(_TABLE), rows)


def forget_files(session: Session, paths: Sequence[str]) -> None:
    """Forget files that are removed on purpose; nothing is committed."""
    for i in range(0, len(paths), _AT_ONCE):
        session.execute(sa.delete(_TABLE).where(_TABLE.c.path.in_(paths[i : i + _AT_ONCE])))


def mark_damaged(session: Session, found: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Mark files as damaged, so that the units that made them are pending; nothing is committed.

    Parameters
    ----------
    session : Session
        On the project's database.
    found : mapping
        What is wrong, by path.

    Returns
    -------
    dict
        By path, the stage and unit that will make the file again; without files that no unit is known to have made.
    """
    owners: dict[str, tuple[str, str]] = {}
    for path, why in found.items():
        row = session.get(ProductFile, path)
        if row is None and (owner := _owner(session, path)):
            row = ProductFile(path=path, stage=owner[0], unit=owner[1])
        if row is not None:
            owners[path], row.damage = (row.stage, row.unit), why
            session.add(row)
    return owners


def _owner(session: Session, path: str) -> tuple[str, str] | None:
    """Return the stage and unit that made a file, before files were recorded."""
    owner = session.exec(select(Product.stage, Product.unit).where(Product.path == path)).first()
    if owner is None:
        image = select(Frame.image_relpath).where(Frame.sources_relpath == path)
        owner = session.exec(
            select(Product.stage, Product.unit).where(col(Product.path).in_(image), Product.path != "")
        ).first()
    return (owner[0], owner[1]) if owner is not None else None
