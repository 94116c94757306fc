"""Units that could not be used: whether that still holds, and what frames say of those of which it does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlmodel import Session

from lcframework.storage.tables import Frame
from lcframework.work import Entry, FrameKey, Ledger, ProductState, Stage, Unit


def still_unusable(products: Iterable[Entry], units: Iterable[Unit[Any]]) -> list[Entry]:
    """Return the products of units that can't be used as things are.

    A unit that is none any more, or that would be made from something else now, was unusable under settings or frames
    of before: its reason says nothing of the present.
    """
    failed = [p for p in products if p.state == ProductState.UNUSABLE]
    if not failed:
        return []
    by_key = {str(u.key): u for u in units}
    return [p for p in failed if p.unit in by_key and p.made_from(by_key[p.unit])]


def clear_old_remarks(session: Session, stage: Stage, units: Iterable[Unit[Any]], ledger: Ledger) -> None:
    """Clear what frames say of units of a stage that are none any more, once all of its units were tried."""
    known = {str(u.key) for u in units}
    for product in ledger.of_stage(stage.name).values():
        if product.state != ProductState.UNUSABLE or product.unit in known:
            continue
        key = FrameKey.parse(product.unit)
        frame = session.get(Frame, key.frame_id) if key is not None else None
        if frame is not None and frame.comment == f"{stage.name}: {product.reason}":
            frame.comment = ""
            session.add(frame)
