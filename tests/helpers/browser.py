"""A real Chromium, driven over a pipe by its DevTools protocol: clicks, keys, colour schemes, sizes, requests.

No further package is needed; a message is JSON that ends with a zero byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
          "--no-first-run", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe")  # fmt: skip


class Tab:
    """One page in the browser, and what it complained of and asked for."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest, self._last, self._session = to, back, b"", 0, ""
        self._answers: dict[int, dict[str, Any]] = {}
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._loaded = False

    def send(self, method: str, wait: float = 120.0, **params: Any) -> Any:
        """Send a command and return its answer."""
        self._last += 1
        number = self._last
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + wait
        while number not in self._answers:
            self._read(end)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self, end: float) -> None:
        ready, _, _ = select.select([self._back], [], [], max(0.0, end - time.monotonic()))
        assert ready, "the browser did not answer"
        part = os.read(self._back, 1 << 20)
        assert part, "the browser ended"
        *whole, self._rest = (self._rest + part).split(b"\0")
        for text in whole:
            self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Page.loadEventFired":
            self._loaded = True
        elif message["method"] == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif message["method"] == "Log.entryAdded":
            self.complaints.append(message["params"]["entry"]["text"])
        elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] in ("error", "warning"):
            self.complaints.append(str(message["params"]["args"]))

    def start(self) -> None:
        """Open a page and listen to it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self.send(f"{domain}.enable")

    def look(self, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Set the size of the window in CSS pixels, and what the reader's device is like."""
        scale = 2 if phone else 1
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path, fragment: str = "") -> float:
        """Open a file, wait until its charts are drawn, and return the seconds that took."""
        self._go("about:blank")  # another fragment of the same address would not load the page again
        begun = time.monotonic()
        self._go(path.as_uri() + fragment)
        self.wait("document.documentElement.dataset.drawn !== undefined")
        return time.monotonic() - begun

    def _go(self, url: str) -> None:
        self._loaded = False
        self.send("Page.navigate", url=url)
        end = time.monotonic() + 120
        while not self._loaded:
            self._read(end)

    def js(self, expression: str) -> Any:
        """Return the value of an expression; promises are waited for."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.js(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.02)

    def busy(self) -> float:
        """Return the CPU seconds that the page's main thread has used: what else runs on the machine does not count."""
        self.send("Performance.enable", timeDomain="threadTicks")
        metrics = {m["name"]: m["value"] for m in self.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def settle(self) -> None:
        """Wait until two more frames are drawn."""
        self.js("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(true))))")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move, press or release the mouse at a place in the window."""
        pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" or more.get("buttons") else {}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed, **more)

    def click(self, selector: str) -> None:
        """Click on the middle of the first element that a selector finds."""
        x, y = self.middle(selector)
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll to an element and return the place of its middle in the window."""
        text = json.dumps(selector)
        box = self.js(
            f"(() => {{ const e = document.querySelector({text}); e.scrollIntoView({{block: 'center', behavior: "
            "'instant'}); const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return float(box[0]), float(box[1])

    def key(self, name: str, shift: bool = False) -> None:
        """Press a key, such as ArrowLeft or Tab."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, " ": 32}
        more: dict[str, Any] = {"windowsVirtualKeyCode": codes.get(name, ord(name[0].upper()))}
        if len(name) == 1:
            more["text"] = name
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, modifiers=8 if shift else 0, **more)

    def shot(self, path: Path, whole: bool = False) -> None:
        """Write a screenshot, of the window or of the whole page."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextlib.contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """Start Chromium with a profile of its own, and end it."""
    assert CHROMIUM is not None
    (theirs_in, to), (back, theirs_out) = os.pipe(), os.pipe()

    def connect() -> None:
        # The browser reads commands from 3 and answers on 4.
        a, b = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(a, 3)
        os.dup2(b, 4)

    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    made = Tab(to, back)
    try:
        made.start()
        yield made
    finally:
        process.terminate()
        process.wait(30)
        os.close(to)
        os.close(back)
