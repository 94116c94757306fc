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


#: Clicks where the third point of the first light curve is drawn, as a mouse would, and says what opens.
CLICK = """<script>
(async () => {
  const wait = () => new Promise((done) => setTimeout(done, 50));
  while (!document.documentElement.dataset.drawn) await wait();
  const point = document.querySelectorAll(".plot .point")[2];
  point.scrollIntoView({ behavior: "instant", block: "center" });
  await wait();
  const box = point.getBoundingClientRect();
  const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, view: window };
  const drawn = document.elementFromPoint(at.clientX, at.clientY);
  for (const kind of ["mousemove", "mousedown", "mouseup", "click"]) {
    drawn.dispatchEvent(new MouseEvent(kind, at));
    await wait();
  }
  const dialog = document.getElementById("ancestry");
  while (!dialog.dataset.shown) await wait();
  const first = dialog.dataset.shown;
  dialog.querySelector("[name=later]").click();
  Object.assign(document.documentElement.dataset, { first, then: dialog.dataset.shown, open: dialog.open });
})();
</script></body>"""


def test_a_click_on_a_point_opens_its_ancestry(tiny, tmp_path):
    text = write_report(tiny.project).read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", CLICK), encoding="utf-8")
    result = browse(page, tmp_path / "profile", "--dump-dom", "--window-size=1200,900")
    assert complaints(result) == []
    root = re.search(r"<html[^>]*>", result.stdout)[0]
    first, then = (re.search(rf'data-{name}="Q A (\d+)"', root) for name in ("first", "then"))
    assert int(first[1]) in tiny.project.light_curve("Q")["frame_id"]
    assert int(then[1]) == int(first[1]) + 1
    assert 'data-open="true"' in root
    assert "<h3>The number</h3>" in result.stdout
    assert "in the frame itself" in result.stdout
