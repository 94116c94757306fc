"""Pictures of the report, taken by a browser without a window."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

BROWSER = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
          "--no-first-run", "--disable-component-update", "--virtual-time-budget=20000", "--hide-scrollbars",
          "--blink-settings=preferredColorScheme=1")  # fmt: skip
#: Leaves one element of one panel on the page, before the charts are drawn.
_ALONE = """<style>
header, nav, footer { display: none; } .columns { display: block; max-width: none; padding: 10px; }
section { border: 0; padding: 0; } figure, .tiles, .scroll { margin: 0; } .scroll { max-height: none; }
</style><script>
for (const section of document.querySelectorAll("main > section")) {
  if (section.querySelector("h2").textContent.trim() !== %(panel)s) { section.remove(); continue; }
  section.replaceChildren(section.querySelectorAll(%(selector)s)[%(index)d]);
}
</script>"""


def page(report: Path, width: int, height: int) -> Image.Image:
    """Return the upper part of a report, pixels."""
    return _taken(report, width, height)


def element(report: Path, panel: str, selector: str, index: int, width: int) -> Image.Image:
    """Return one element of a panel, such as its second ``figure``, on the colour of the page."""
    values = {"panel": json.dumps(panel), "selector": json.dumps(selector), "index": index}
    text = report.read_text(encoding="utf-8")
    before, found, after = text.rpartition("<footer>")
    if not found:
        raise ValueError(f"{report} has no footer, before which other panels are taken out")
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "report.html"
        alone.write_text(before + _ALONE % values + found + after, encoding="utf-8")
        return _taken(alone, width, 1600)


def _taken(path: Path, width: int, height: int) -> Image.Image:
    if BROWSER is None:
        raise FileNotFoundError("no chromium is installed to draw the report with")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = [BROWSER, *_FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
                   f"--screenshot={shot}", path.resolve().as_uri()]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=240, check=True)
        with Image.open(shot) as image:
            return image.convert("RGB")
