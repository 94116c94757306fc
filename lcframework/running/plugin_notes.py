"""What is to be said of a project's plugins: packages that changed, and settings about plugins without effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlmodel import Session

from lcframework.config.toolbox import Tool, Toolbox
from lcframework.entry_points import is_built_in
from lcframework.running.plugin_stages import stages_with_products
from lcframework.storage.tables import Product, ProductState
from lcframework.types import Doubt, Severity

#: The name in the column `stage` of ``products`` under which the packages of a project's plugins are recorded.
RECORD = "plugins"


def record_plugins(session: Session, toolbox: Toolbox) -> None:
    """Record, after a run, which releases of third parties' packages have answered with one `results_version`."""
    for tool in _others(toolbox):
        key = (RECORD, f"{tool.section}:{tool.name}")
        before = session.get(Product, key)
        known = dict(before.components) if before is not None else {}
        if known.get("results_version") != tool.results_version:
            known = {"results_version": tool.results_version, "releases": []}
        release = tool.source.origin if tool.source is not None else ""
        if release not in known["releases"]:
            known = {**known, "releases": [*known["releases"], release]}
        state = ProductState.MADE.value
        session.merge(Product(stage=RECORD, unit=key[1], fingerprint="", token="", components=known, state=state))


def _others(toolbox: Toolbox) -> Iterator[Tool]:
    """Yield each tool of a third party once."""
    seen = set()
    for sections in toolbox.tools.values():
        for tool in (t for tools in sections.values() for t in tools):
            if (
                tool.source is not None
                and not is_built_in(tool.source.origin)
                and (tool.section, tool.name) not in seen
            ):
                seen.add((tool.section, tool.name))
                yield tool


def plugin_doubts(session: Session, toolbox: Toolbox) -> Iterator[Doubt]:
    """Yield what is to be said of the plugins of a project."""
    yield from _changed_releases(session, toolbox)
    config = toolbox.config
    named = {name.rpartition(":")[2] for name in config.run.stages}
    idle = {*config.stage_tables, *stages_with_products(session)} - named
    for stage in sorted(idle):
        text = f"the stage {stage} takes no part, because [run] stages does not name it"
        yield Doubt("idle_stage", text, f'stages = ["{stage}"] in [run] lets it take part', severity=Severity.NOTE)


def _changed_releases(session: Session, toolbox: Toolbox) -> Iterator[Doubt]:
    for tool in _others(toolbox):
        row = session.get(Product, (RECORD, f"{tool.section}:{tool.name}"))
        known: dict[str, Any] = dict(row.components) if row is not None else {}
        release = tool.source.origin if tool.source is not None else ""
        releases = [*known.get("releases", [])]
        if known.get("results_version") != tool.results_version or not releases:
            continue
        if release not in releases:
            releases.append(release)
        if len(releases) > 1:
            text = (
                f'[{tool.section}] plugin = "{tool.name}" is of {releases[-1]} now, and was of '
                f"{', '.join(releases[:-1])}; both say results_version = {tool.results_version}, so that what the "
                "earlier one made is kept"
            )
            remedy = "where its release notes say that answers changed, `lcf run --force` the stage that uses it"
            yield Doubt("plugin_release", text, remedy, severity=Severity.NOTE)
