"""The pipeline as a picture: the stages from `lcframework.stages.CHAIN`, what each needs, and what it leaves on disk.

The picture stands in the pages as a part of them, where its stages are links and its colours those of the theme, and is
an image elsewhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from lcframework.stages import CHAIN
from lcframework.work import Stage

_WIDTH, _ROW, _TOP, _BOX, _SIDE = 560, 100, 46, 88, 84
_LEFT = 84  # of boxes; the arcs of what a stage needs are beside them
_LINE = 46  # characters of what a stage makes
_STYLE = """
.pipeline text { font-family: system-ui, -apple-system, "Segoe UI", Arial, "DejaVu Sans", sans-serif; }
.pipeline .title { font-size: 16px; font-weight: 600; fill: var(--pst-color-text-base, #22262d); }
.pipeline .name, .pipeline .makes { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.pipeline .name { font-size: 11px; fill: var(--pst-color-text-muted, #59606b); }
.pipeline .makes { font-size: 11.5px; fill: var(--pst-color-text-base, #22262d); }
.pipeline .ends { font-size: 14px; fill: var(--pst-color-text-base, #22262d); }
.pipeline .paper { fill: var(--pst-color-background, #ffffff); }
.pipeline .box { fill: var(--pst-color-surface, #f4f6f8); stroke: var(--pst-color-border, #c3c9d1); }
.pipeline a:hover .box { stroke: var(--pst-color-link, #0b5cad); }
.pipeline .arc { fill: none; stroke: var(--pst-color-text-muted, #59606b); stroke-width: 1.3; }
.pipeline .tip { fill: var(--pst-color-text-muted, #59606b); }
"""


def pipeline(pictures: Mapping[str, Path]) -> str:
    """Return the picture, SVG.

    Parameters
    ----------
    pictures : mapping of str to Path
        By stage: a square WebP of what it leaves.
    """
    names = [stage.name for stage in CHAIN]
    height = _TOP + len(CHAIN) * _ROW + 40
    what = "The twelve stages from raw frames to light curves, what each needs and what it leaves on disk"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="group" class="pipeline" '
        f'aria-label="{what}">',
        f"<title>{what}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="6"/>',
        f'<text class="ends" x="{_LEFT}" y="28">raw FITS frames, project.toml</text>',
        *_arcs([[names.index(n) for n in stage.needs] for stage in CHAIN]),
        *(part for i, stage in enumerate(CHAIN) for part in _box(i, stage, pictures.get(stage.name))),
        f'<text class="ends" x="{_LEFT}" y="{height - 18}">light curves, report, your own modelling</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _middle(i: int) -> float:
    return _TOP + i * _ROW + _BOX / 2


def _arcs(needs: Sequence[Sequence[int]]) -> Iterator[str]:
    """Yield an arrow for each need; the further it comes, the further out it runs."""
    for i, wanted in enumerate(needs):
        for k, j in enumerate(sorted(wanted, reverse=True)):
            start, end = _middle(j) + 12, _middle(i) - 12 + 8 * k
            out = _LEFT - 14 - 15 * (i - j)
            if i - j == 1:
                yield f'<path class="arc" d="M{_LEFT + 26} {_middle(j) + _BOX / 2}V{_middle(i) - _BOX / 2 - 5}"/>'
                yield _tip(_LEFT + 26, _middle(i) - _BOX / 2, down=True)
            else:
                yield f'<path class="arc" d="M{_LEFT} {start}C{out} {start} {out} {end} {_LEFT - 5} {end}"/>'
                yield _tip(_LEFT, end, down=False)


def _tip(x: float, y: float, down: bool) -> str:
    legs = "l-4 -7h8z" if down else "l-7 -4v8z"
    return f'<path class="tip" d="M{x} {y}{legs}"/>'


def _box(i: int, stage: type[Stage], picture: Path | None) -> Iterator[str]:
    top = _TOP + i * _ROW
    anchor = re.sub(r"[^a-z0-9]+", "-", stage.name)
    yield f'<a href="pipeline.html#{anchor}"><rect class="box" x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - 2}" '
    yield f'height="{_BOX}" rx="6"/>'
    yield f'<text class="title" x="{_LEFT + 12}" y="{top + 22}">{escape(stage.title)}</text>'
    yield f'<text class="name" x="{_LEFT + 12}" y="{top + 37}">{escape(stage.name)}</text>'
    for k, line in enumerate(_lines(stage.makes)):
        yield f'<text class="makes" x="{_LEFT + 12}" y="{top + 54 + 14 * k}">{escape(line)}</text>'
    if picture is not None:
        encoded = base64.b64encode(picture.read_bytes()).decode()
        yield f'<image x="{_WIDTH - _SIDE - 4}" y="{top + 2}" width="{_SIDE}" height="{_SIDE}" '
        yield f'href="data:image/webp;base64,{encoded}"/>'
    yield "</a>"


def _lines(makes: Sequence[str]) -> list[str]:
    """Return what a stage makes in lines that fit, files first; an ellipsis stands for what is left over."""
    files = [m for m in makes if "/" in m or "." in m]
    lines = [""]
    for word in [*files, *(m for m in makes if m not in files)]:
        pieces = [word] if len(word) <= _LINE else re.findall(r"[^/]+/?", word)
        for piece in pieces:
            gap = "" if lines[-1].endswith("/") or not lines[-1] else "\N{NO-BREAK SPACE}" * 2
            if lines[-1] and len(lines[-1] + gap + piece) > _LINE:
                lines.append(piece)
            else:
                lines[-1] += gap + piece
    return lines if len(lines) <= 3 else [*lines[:2], f"{lines[2][: _LINE - 2]} …"]
