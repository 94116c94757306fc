from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from PIL import Image

from lcframework.report import write_report

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--no-first-run", "--disable-component-update", "--virtual-time-budget=20000", "--enable-logging=stderr",
         "--hide-scrollbars"]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed to draw the report with"),
]


def browse(path, profile, *more):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *more, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)


def complaints(result):
    return [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def test_charts_are_drawn_without_complaint(tiny, tmp_path):
    path = write_report(tiny.project)
    result = browse(path, tmp_path / "profile", "--dump-dom")
    assert complaints(result) == []
    drawn = re.search(r'<html[^>]*data-drawn="(\d+)"', result.stdout)
    assert drawn is not None, "the page's script did not come to its end"
    assert int(drawn[1]) >= 8
    # Light curves: 4 sources in 2 groups, and the limits; each a trace of points.
    assert result.stdout.count('class="trace scatter') >= 30
    assert len(re.findall(r'class="point"', result.stdout)) > 100
    assert "sendChartToCloud" not in re.sub(r"<script.*?</script>", "", result.stdout, flags=re.DOTALL)


@pytest.mark.parametrize(("scheme", "paper"), [(1, (251, 250, 248)), (0, (20, 23, 28))])
def test_light_and_dark_readers_have_their_colours(tiny, tmp_path, scheme, paper):
    path, shot = write_report(tiny.project), tmp_path / "shot.png"
    more = [f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1200,1600", f"--screenshot={shot}"]
    result = browse(path, tmp_path / "profile", *more)
    assert complaints(result) == []
    with Image.open(shot) as image:
        assert image.convert("RGB").getpixel((5, 5)) == paper
        assert len(image.convert("RGB").getcolors(maxcolors=2**20)) > 50


def test_band_that_looks_like_a_script(odd_band, tmp_path):
    result = browse(write_report(odd_band.project), tmp_path / "profile", "--dump-dom")
    assert complaints(result) == []
    drawn = re.search(r'<html[^>]*data-drawn="(\d+)"', result.stdout)
    assert drawn is not None, "the page's script did not come to its end"
    assert int(drawn[1]) >= 8
