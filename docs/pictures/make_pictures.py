"""Makes the pictures of the README and of the pages, in `docs/images`, from campaigns that it simulates.

    python docs/pictures/make_pictures.py [NAME ...]        all pictures, or those whose names begin so

It needs the extra `demo`, and chromium for those of the report. Simulating and measuring the campaigns takes some
minutes on two cores; they are kept in `docs/_build/pictures`, and not made again while they are there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from campaigns import measured
from light_curve_picture import light_curves
from PIL import Image
from pipeline_picture import pipeline
from plot_pictures import PLOT_PICTURES, Picture
from report_pictures import page
from small_files import IMAGES, save
from stage_pictures import SIDE, STAGE_PICTURES

from lcframework import Project

_WIDTH, _PLOT = 900, 780  # pixels


def pictures() -> dict[str, Callable[[], object]]:
    """Return by name what makes each picture."""
    made: dict[str, Callable[[], object]] = {
        "light_curves": partial(_taken, "light_curves", "good", light_curves, _WIDTH),
        "report": partial(_taken, "report", "good", _report, 1000),
    }
    for name, take in STAGE_PICTURES.items():
        made[f"stages/{name}"] = partial(_taken, f"stages/{name}", "good", take, SIDE)
    for name, (campaign, take) in PLOT_PICTURES.items():
        made[f"plots/{name}"] = partial(_taken, f"plots/{name}", campaign, take, _PLOT)
    made["pipeline"] = _pipeline
    return made


def _taken(name: str, campaign: str, take: Picture, width: int) -> None:
    save(take(measured(campaign)), name, width)


def _report(project: Project) -> Image.Image:
    return page(project.workdir / "report" / "index.html", 1150, 1240)


def _pipeline() -> None:
    (IMAGES / "pipeline.svg").write_text(pipeline_with_pictures(), encoding="utf-8")


def pipeline_with_pictures() -> str:
    """Return the picture of the pipeline with those of the stages that are there."""
    return pipeline({p.stem: p for p in (IMAGES / "stages").glob("*.webp")})


def main(wanted: list[str]) -> None:
    """Make pictures, and say which."""
    for name, make in pictures().items():
        if not wanted or any(name.startswith(w) for w in wanted):
            make()
            print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
