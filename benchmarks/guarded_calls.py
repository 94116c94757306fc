"""What the guard around every call of a plugin costs: microseconds of CPU, with inputs and answers of usual sizes.

python benchmarks/guarded_calls.py
"""

from __future__ import annotations

import time
import timeit
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from lcframework.plugins import Source, asked
from lcframework.types import PSF, CandidateStars, FitState, FitStatus, HeaderInfo, PsfBatch

SIZE, STARS, FRAMES = 32, 20, 16


def cases() -> list[tuple[str, str, str, Any, tuple[Any, ...]]]:
    kernel = np.full((64, 64), 1 / 64**2)
    kernels, places = np.repeat(kernel[None], STARS, axis=0), np.zeros((STARS, 2))
    psf = PSF(kernel, kernel, 2, 2.0, FitStatus(FitState.CONVERGED, 50), 1.0)
    shape = (FRAMES, STARS, SIZE, SIZE)
    batch = PsfBatch(
        np.zeros(shape), np.ones(shape), np.zeros(shape, bool), np.zeros((*shape[:2], 2)), np.zeros((*shape[:2], 2)),
        np.ones(FRAMES), (2000, 2000),
    )  # fmt: skip
    header = fits.Header([(f"KEY{i}", float(i), "a comment") for i in range(200)])
    info = HeaderInfo(60.0, 1.0, 60000.0)
    image = np.zeros((2000, 2000), np.float32)
    names = [str(i) for i in range(300)]
    stars = Table({"source_id": names, "ra": np.zeros(300), "dec": np.zeros(300)})
    magnitudes = Table({"source_id": names, "mag": np.zeros(300), "mag_err": np.ones(300)}, meta={"system": "AB"})
    candidates = CandidateStars(*(np.zeros(STARS) for _ in range(4)), np.zeros(STARS, bool))
    return [
        ("nothing", "none", "x", None, ()),
        ("choice of 5 of 20 stars", "lcf_comparison_stars", "choose", np.arange(5), (candidates, 5)),
        ("header of 200 cards", "lcf_header_parsers", "parse", info, (header, None)),
        ("PSFs of 16 frames", "lcf_psf_models", "fit", [psf] * FRAMES, (batch,)),
        ("kernels at 20 stars", "lcf_psf_models", "at", kernels, (psf, places)),
        ("sky of 4 million pixels", "lcf_background_estimators", "estimate", (image, 1.0), (image, image > 1)),
        ("magnitudes of 300 stars", "lcf_calibration_surveys", "magnitudes", magnitudes, (stars, "r")),
    ]


def main() -> None:
    for title, hook, method, answer, arguments in cases():
        times = []
        for origin in ("lcframework 1", "lcf-other 1"):
            source = Source("x", hook, "name", "plugin", origin, "module")

            def call(s: Source = source, m: str = method, a: Any = answer, given: tuple[Any, ...] = arguments) -> Any:
                return asked(s, m, lambda *_: a, *given)

            number = max(3, int(0.2 / max(timeit.timeit(call, number=3) / 3, 1e-6)))
            times.append(min(timeit.repeat(call, number=number, repeat=5, timer=time.process_time)) / number * 1e6)
        print(f"{title:<26} {times[0]:>9.1f} us built in, {times[1]:>9.1f} us of others")


if __name__ == "__main__":
    main()
