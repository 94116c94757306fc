"""The ledger: the existing products. A stage may read its own and those of the stages in its `needs`."""

from __future__ import annotations

import enum
import functools
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.provenance import complete, digest
from lcframework.storage.product_files import KnownFile, files_of_stage
from lcframework.storage.seals import MISSING, wrong_size
from lcframework.storage.tables import FINGERPRINT_RULE, Product, ProductState
from lcframework.types import PluginError
from lcframework.work.keys import UnitKey
from lcframework.work.unit import Unit

K = TypeVar("K", bound=UnitKey)


class OwnAsked(enum.IntEnum):
    """What a stage has asked of its own products: the more, the sooner its units must be listed again."""

    NOTHING = 0
    STATES = 1
    PRODUCTS = 2


@attrs.frozen
class Entry:
    """A row of ``products`` without its components, which are large and rarely needed."""

    stage: str
    unit: str
    fingerprint: str
    fingerprint_rule: int
    token: str
    state: str
    reason: str
    path: str
    seconds: float

    @property
    def made(self) -> bool:
        """Whether the product was made and can be used."""
        return self.state == ProductState.MADE

    def made_from(self, unit: Unit[Any]) -> bool:
        """Return whether it was made, or found unusable, from the present components of its unit.

        A product of an earlier version is compared by the rule of that version, which included every option.
        """
        if self.fingerprint_rule == FINGERPRINT_RULE:
            return self.fingerprint == unit.fingerprint
        return self.fingerprint == digest(complete(unit.components))


#: Returns the files of a stage's products, by the texts of their unit keys.
FilesOf = Callable[[str], Mapping[str, Sequence[KnownFile]]]

_COLUMNS = [getattr(Product, column.name) for column in attrs.fields(Entry)]


class StoredProducts(Mapping[str, Mapping[str, Entry]]):
    """The products in a database, by stage and unit key; those of a stage are read when they are asked for.

    Parameters
    ----------
    session : Session
        On the project's database; it must be open while stages are asked for that were not read yet.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read: dict[str, dict[str, Entry]] = {}

    def __getitem__(self, stage: str) -> Mapping[str, Entry]:
        """Return the products of a stage."""
        if stage not in self._read:
            rows = self._session.execute(sa.select(*_COLUMNS).where(col(Product.stage) == stage))
            self._read[stage] = {row.unit: Entry(*row) for row in rows}
        return self._read[stage]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the stages that have products."""
        return iter(self._session.exec(select(Product.stage).distinct()).all())

    def __len__(self) -> int:
        """Return how many stages have products."""
        return len(list(iter(self)))


class Ledger:
    """The existing products, by stage and unit.

    Parameters
    ----------
    products : mapping
        By the name of the stage, then by the text of the unit key.
    files : callable, optional
        Returns the recorded files of a stage's products; without it none is known.
    """

    def __init__(self, products: Mapping[str, Mapping[str, Entry]], files: FilesOf | None = None) -> None:
        self._products = products
        self._files: FilesOf = files or (lambda stage: {})
        self._reader = ""
        self._visible: frozenset[str] | None = None
        self.own_asked = OwnAsked.NOTHING  # what the reading stage has asked of its own products so far

    @classmethod
    def read(cls, session: Session) -> Ledger:
        """Read all products of a database."""
        products: dict[str, dict[str, Entry]] = {}
        for row in session.execute(sa.select(*_COLUMNS)):
            entry = Entry(*row)
            products.setdefault(entry.stage, {})[entry.unit] = entry
        return cls(products, functools.cache(functools.partial(files_of_stage, session)))

    @classmethod
    def of(cls, session: Session) -> Ledger:
        """Return the products of a database; they are read stage by stage, while the session is open."""
        return cls(StoredProducts(session), functools.cache(functools.partial(files_of_stage, session)))

    def seen_by(self, stage: str, needs: Collection[str]) -> Ledger:
        """Return the ledger for `stage`, which can read its own products and those of the stages in `needs`."""
        other = Ledger(self._products, self._files)
        other._reader, other._visible = stage, frozenset([stage, *needs])
        return other

    def forcing(self, stage: str, units: Collection[str]) -> Ledger:
        """Return a ledger in which these products of a stage are marked to be made again."""
        forced = {
            unit: attrs.evolve(product, state=ProductState.FORCED, fingerprint="") if unit in units else product
            for unit, product in self.of_stage(stage).items()
        }
        products = ChainMap({stage: forced}, self._products)  # type: ignore[arg-type]  # nothing is written in it
        return Ledger(products, self._files)

    def of_stage(self, stage: str) -> Mapping[str, Entry]:
        """Return a stage's products by the texts of their unit keys.

        Raises
        ------
        PluginError
            Where the reading stage does not name that stage in its `needs`.
        """
        return self._noted(stage, OwnAsked.PRODUCTS)

    def states(self, stage: str, kind: type[K]) -> dict[K, str]:
        """Return which products of one kind of unit a stage has, and their states; raises as :meth:`of_stage`.

        A stage whose units depend on its own products by these alone need not be listed again after each change.
        """
        products = _keyed(self._noted(stage, OwnAsked.STATES), kind)
        return {key: product.state for key, product in products.items()}

    def own_states(self) -> dict[str, str]:
        """Return the states of the reading stage's products, by the texts of their unit keys."""
        return {unit: product.state for unit, product in self._noted(self._reader, OwnAsked.NOTHING).items()}

    def _noted(self, stage: str, asked: OwnAsked) -> Mapping[str, Entry]:
        """Return a stage's products, and note what was asked where they are the reader's own."""
        if self._visible is not None and stage not in self._visible:
            raise PluginError(
                f"the stage {self._reader} asks for products of {stage}, which its `needs` does not name: add it there"
            )
        if stage == self._reader:
            self.own_asked = max(self.own_asked, asked)
        try:
            return self._products[stage]
        except KeyError:
            return {}

    def product(self, stage: str, key: UnitKey) -> Entry | None:
        """Return the product of a unit, or None where it has none; raises as :meth:`of_stage`."""
        return self.of_stage(stage).get(str(key))

    def keyed(self, stage: str, kind: type[K]) -> dict[K, Entry]:
        """Return a stage's products of one kind of unit by their unit keys; raises as :meth:`of_stage`."""
        return _keyed(self.of_stage(stage), kind)

    def made(self, stage: str, kind: type[K]) -> dict[K, Entry]:
        """Return a stage's usable products of one kind of unit by their unit keys; raises as :meth:`of_stage`."""
        return {key: product for key, product in self.keyed(stage, kind).items() if product.made}

    def harm(self, product: Entry, workdir: Path) -> str:
        """Return what is wrong with the files of a product, in words, as far as sizes and readers tell; or ''."""
        if not product.made:
            return ""
        known = self._files(product.stage).get(product.unit)
        for file in known or ():
            wrong = file.damage or wrong_size(workdir, file.path, file.size)
            if wrong:
                return _harm(file.path, wrong)
        if known is None and product.path:  # an earlier version made it
            wrong = wrong_size(workdir, product.path, None)
            return _harm(product.path, wrong) if wrong else ""
        return ""

    def is_done(self, stage: str, unit: Unit[Any]) -> bool:
        """Return whether a unit was made, or found unusable, from its present components."""
        product = self.product(stage, unit.key)
        return product is not None and product.made_from(unit)


def _keyed(products: Mapping[str, Entry], kind: type[K]) -> dict[K, Entry]:
    """Return the products of one kind of unit by their unit keys."""
    found = ((kind.parse(text), product) for text, product in products.items())
    return {key: product for key, product in found if key is not None}


def _harm(path: str, wrong: str) -> str:
    return f"its file is gone: {path}" if wrong == MISSING else f"its file is damaged: {path}: {wrong}"
