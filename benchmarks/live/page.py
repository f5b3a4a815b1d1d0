"""From a note at the microphone to the page of `rtmelody monitor` in a real browser, and how many frames a second it draws."""

import shutil
import subprocess
import sys
import time

import numpy as np

from benchmarks.live.jackstage import ENVIRONMENT, Stage, server
from benchmarks.live.latency import HIGHEST, LOWEST, TONES, tones

PERIOD = 256
ADDRESS = "http://127.0.0.1:8799/"
MONITOR = [sys.executable, "-m", "rtmelody", "monitor", "--device", "fakemic", "--port", "8799", "--no-midi"]
LATEST_MS = 400.0
# A note counts once a frame with it was drawn; times are of the system's clock, as the microphone's are.
WATCH = """
window.seen = []; window.frames = 0;
const now = () => performance.timeOrigin + performance.now();
document.addEventListener('note', ({detail}) => requestAnimationFrame(() => seen.push([now(), detail.midi])));
const count = () => { frames += 1; requestAnimationFrame(count); };
requestAnimationFrame(count);
"""


def page() -> dict[str, float]:
    """Quantiles in ms, and frames a second."""
    from playwright.sync_api import sync_playwright

    pitches = np.random.default_rng(7).integers(LOWEST, HIGHEST + 1, TONES)
    starts, sound = tones(pitches)
    with server(period=PERIOD), Stage(sound) as stage:
        program = subprocess.Popen(MONITOR, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            stage.connect()
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                shown = browser.new_page(viewport={"width": 1280, "height": 800})
                shown.add_init_script(WATCH)
                shown.goto(ADDRESS)
                shown.wait_for_timeout(1_000)
                frames, began = shown.evaluate("frames"), time.monotonic()
                stage.play()
                rate = (shown.evaluate("frames") - frames) / (time.monotonic() - began)
                seen = shown.evaluate("seen")
                browser.close()
        finally:
            program.terminate()
            program.wait(20)
    onsets = 1000 * np.interp(stage.began + starts, *np.array(stage.clock).T)  # the server may have paused in between
    late = [
        min((at - onset for at, midi in seen if midi == pitch and 0 < at - onset < LATEST_MS), default=None)
        for onset, pitch in zip(onsets, pitches, strict=True)
    ]
    found = [one for one in late if one is not None]
    p50, p95 = np.percentile(found, (50, 95))
    return {"seen": len(found), "p50": round(p50, 1), "p95": round(p95, 1), "frames_per_s": round(rate, 1)}
