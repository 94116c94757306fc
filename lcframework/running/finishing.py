"""What a stage makes of all its products: `Stage.finish`, called where these changed since its last call."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.provenance import digest
from lcframework.storage.tables import Product
from lcframework.work import Ledger, ProductState, Stage

_FINISH = "finish"


def finish(engine: Engine, stage: Stage, workdir: Path) -> None:
    """Call `Stage.finish` where products changed since its last call, also in a run that was killed before it."""
    with Session(engine) as session:
        ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
        if is_finished(session, stage, ledger) and not stage.outdated(workdir):
            return
        stage.finish(session, ledger, workdir)
        state, made = _state_of(stage, ledger), ProductState.MADE.value
        session.merge(
            Product(stage=_FINISH, unit=stage.name, fingerprint=state, token=state, components={}, state=made)
        )
        session.commit()


def is_finished(session: Session, stage: Stage, ledger: Ledger) -> bool:
    """Return whether `Stage.finish` was called for the products of now."""
    before = session.get(Product, (_FINISH, stage.name))
    return before is not None and before.fingerprint == _state_of(stage, ledger)


def _state_of(stage: Stage, ledger: Ledger) -> str:
    """Return a digest of a stage's products."""
    return digest(sorted([u, p.state, p.token] for u, p in ledger.of_stage(stage.name).items()))
