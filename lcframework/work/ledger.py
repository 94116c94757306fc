"""The products that are there, as a stage may see them: its own, and those of the stages that it needs."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import attrs
import sqlalchemy as sa
from sqlmodel import Session

from lcframework.provenance import complete, digest
from lcframework.storage.tables import FINGERPRINT_RULE, Product
from lcframework.types import PluginError
from lcframework.work.keys import UnitKey
from lcframework.work.unit import Unit

K = TypeVar("K", bound=UnitKey)


class ProductState(enum.StrEnum):
    """How the product of a unit stands."""

    MADE = "made"
    UNUSABLE = "unusable"
    FORCED = "forced"  # the user wants it made again; its token is the id of the run that was asked for it


@attrs.frozen
class Entry:
    """A row of ``products`` without its components, which are many and seldom asked for."""

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
        """Whether it can be used."""
        return self.state == ProductState.MADE

    def made_from(self, unit: Unit[Any]) -> bool:
        """Return whether it was made, or found unusable, from what its unit is made from now.

        A product that an earlier version recorded is compared by the rule of that version, which counted every option.
        """
        if self.fingerprint_rule == FINGERPRINT_RULE:
            return self.fingerprint == unit.fingerprint
        return self.fingerprint == digest(complete(unit.components))


_COLUMNS = [getattr(Product, field.name) for field in attrs.fields(Entry)]


class Ledger:
    """The products that are there, by stage and unit.

    Parameters
    ----------
    products : mapping
        By the stage's name, and by the unit's text.
    """

    def __init__(self, products: Mapping[str, Mapping[str, Entry]]) -> None:
        self._products = products
        self._reader = ""
        self._visible: frozenset[str] | None = None

    @classmethod
    def read(cls, session: Session) -> Ledger:
        """Read all products of a database."""
        products: dict[str, dict[str, Entry]] = {}
        for row in session.execute(sa.select(*_COLUMNS)):
            entry = Entry(*row)
            products.setdefault(entry.stage, {})[entry.unit] = entry
        return cls(products)

    def seen_by(self, stage: str, needs: Collection[str]) -> Ledger:
        """Return the ledger as a stage sees it that needs the products of some others."""
        other = Ledger(self._products)
        other._reader, other._visible = stage, frozenset([stage, *needs])
        return other

    def forcing(self, stage: str, units: Collection[str]) -> Ledger:
        """Return the ledger as it would be with these products of a stage to be made again."""
        forced = {
            unit: attrs.evolve(product, state=ProductState.FORCED, fingerprint="") if unit in units else product
            for unit, product in self.of_stage(stage).items()
        }
        return Ledger({**self._products, stage: forced})

    def of_stage(self, stage: str) -> Mapping[str, Entry]:
        """Return a stage's products by the texts of their units.

        Raises
        ------
        PluginError
            Where the stage that reads does not name it in its `needs`.
        """
        if self._visible is not None and stage not in self._visible:
            raise PluginError(
                f"the stage {self._reader} asks for products of {stage}, which its `needs` does not name: add it there"
            )
        return self._products.get(stage, {})

    def product(self, stage: str, key: UnitKey) -> Entry | None:
        """Return the product of a unit, or None; raises as :meth:`of_stage`."""
        return self.of_stage(stage).get(str(key))

    def keyed(self, stage: str, kind: type[K]) -> dict[K, Entry]:
        """Return a stage's products of one kind of unit by their keys; raises as :meth:`of_stage`."""
        found = ((kind.parse(text), product) for text, product in self.of_stage(stage).items())
        return {key: product for key, product in found if key is not None}

    def made(self, stage: str, kind: type[K]) -> dict[K, Entry]:
        """Return a stage's usable products of one kind of unit by their keys; raises as :meth:`of_stage`."""
        return {key: product for key, product in self.keyed(stage, kind).items() if product.made}

    def is_done(self, stage: str, unit: Unit[Any]) -> bool:
        """Return whether a unit's work was done, or found impossible, with what it is made from now."""
        product = self.product(stage, unit.key)
        return product is not None and product.made_from(unit)
