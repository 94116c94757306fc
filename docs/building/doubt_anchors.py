"""Gives each row of the table of doubts an anchor, so that pages can link to a kind: ``doubts.md#poor_fit``."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

PAGE = "doubts"


class DoubtAnchors(SphinxTransform):
    """Names the rows of the page's tables whose first cell is a kind."""

    default_priority = 500

    def apply(self) -> None:
        """Add the anchors to the document and to the slugs by which Markdown links find their targets."""
        if self.env.docname != PAGE:
            return
        slugs = self.env.metadata[PAGE].setdefault("myst_slugs", {})
        for row in self.document.findall(nodes.row):
            first = row.next_node(nodes.entry)
            kind = first.next_node(nodes.literal) if first is not None else None
            if kind is not None and kind.astext() not in slugs:
                row["ids"].append(kind.astext())
                slugs[kind.astext()] = (row.line or 0, kind.astext(), kind.astext())


def setup(app: Sphinx) -> dict[str, bool]:
    """Install the transform."""
    app.add_transform(DoubtAnchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
