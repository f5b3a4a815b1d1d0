"""The monitor: who may look, many viewers, the service; the page in a real browser, the engine on a real JACK server."""

import asyncio
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
import soundfile
from conftest import DATA, ENVIRONMENT, jackd, needs, wait_for
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright
from scipy.signal import resample_poly
from stage import Stage, Theatre, until
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rtmelody import NoteOn, Recognizer, notes
from rtmelody.cli.monitor import as_browsers_say
from rtmelody.io.files import read_audio
from rtmelody.monitor.guard import FAILURES, PER_S, Guard
from rtmelody.monitor.hub import WAITING, Viewer
from rtmelody.monitor.microphones import MOST

pytestmark = needs("jackd", "jack_wait", "jack_lsp", "chromium")

AXE = Path(__import__("axe_playwright_python").__file__).with_name("axe.min.js")
CHROMIUM = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
RATE = 48_000


class Guarded:
    """A client that remembers cookies, of a guarded page."""

    def __init__(self, token, clock=lambda: 0.0, origin=None):
        app = Starlette(routes=[Route("/", lambda _request: PlainTextResponse("come in"))])
        transport = httpx.ASGITransport(Guard(app, token, origin, clock))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost:8765")

    @property
    def cookies(self):
        return self._client.cookies

    def get(self, url, **options):
        return asyncio.run(self._client.get(url, **options))


def test_the_token_is_asked_for_and_then_remembered():
    client = Guarded("secret")
    assert client.get("/").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/?token=secret").text == "come in"
    assert client.get("/").text == "come in"  # by the cookie
    assert "HttpOnly" in Guarded("secret").get("/?token=secret").headers["set-cookie"]


def test_two_monitors_on_one_machine_do_not_share_a_cookie():
    one, other = Guarded("secret"), Guarded("another")
    one.get("/?token=secret")
    other.get("/?token=another")
    other.cookies.update(one.cookies)  # a browser shows both to either
    one.cookies.update(other.cookies)
    assert one.get("/").status_code == other.get("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8765"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"host": "evil.example:8765"}, 403),  # a name of theirs that leads here
        ({"host": "localhost.evil.example"}, 403),
    ],
)
def test_other_sites_are_refused(headers, status):
    assert Guarded(None).get("/", headers=headers).status_code == status


def test_a_proxy_may_serve_it():
    client = Guarded("secret", origin="https://stage.example")
    for host in ("stage.example", "localhost:8765"):  # it may hand on the name that was asked for, or its own
        headers = {"origin": "https://stage.example", "host": host}
        assert client.get("/", headers=headers).status_code == 401
        assert "Secure" in client.get("/?token=secret", headers=headers).headers["set-cookie"]
        assert client.get("/?token=secret", headers=headers | {"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("given", ["https://stage.example", "https://Stage.example/", "https://stage.example:443"])
def test_an_origin_is_what_browsers_make_of_it(given):
    assert as_browsers_say(given) == "https://stage.example"
    assert as_browsers_say("http://stage.example:443") == "http://stage.example:443"


def test_who_guesses_is_refused_unheard_for_a_while():
    now = [0.0]
    client = Guarded("secret", lambda: now[0])
    stale = [client.get("/?token=yesterday's").status_code for _ in range(2 * FAILURES)]  # a page that was left open
    assert set(stale) == {401}
    assert [client.get(f"/?token={guess}").status_code for guess in range(FAILURES - 1)] == [401] * (FAILURES - 1)
    assert client.get("/?token=secret").status_code == 429
    now[0] = PER_S + 1
    assert client.get("/?token=secret").status_code == 200


@pytest.mark.parametrize("others", ["flag", 'foo={"a":1}', "n=é", "a=b=c; ;"])
def test_another_servers_cookies_lock_nobody_out(others):
    """Cookies know no ports: a browser shows those of whatever else runs on this machine."""
    client = Guarded("secret")
    (name, value), *_ = client.get("/?token=secret").cookies.items()
    cookies = f"{others}; {name}={value}".encode("latin-1")
    assert Guarded("secret").get("/", headers={"cookie": cookies}).text == "come in"


@given(st.lists(st.binary(max_size=30), max_size=20), st.text(max_size=20))
def test_no_cookie_and_no_query_is_too_strange(cookies, query):
    client = Guarded("secret")
    headers = {"cookie": b"; ".join(cookies).replace(b"\r", b"").replace(b"\n", b"")}
    assert client.get("/", params={"token": query}, headers=headers).status_code == 401


@given(st.lists(st.integers(0, 3 * WAITING), max_size=6))
def test_a_slow_viewer_gets_the_newest_and_the_rest_is_counted(bursts):
    async def watch():
        viewer, put, got = Viewer(), 0, []
        for burst in bursts:
            for number in range(put, put + burst):
                viewer.put(number)
            put += burst
            got += [await viewer.next() for _ in range(min(burst, WAITING))]
        assert got == sorted(got)
        assert len(got) + viewer.dropped == put
        assert not put or not bursts[-1] or got[-1] == put - 1

    asyncio.run(watch())


@pytest.fixture(scope="module")
def tune():
    samples, rate = read_audio(DATA / "demo.ogg")
    return resample_poly(samples, RATE, rate).astype(np.float32)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory, tune):
    """With a token, as from elsewhere."""
    folder = tmp_path_factory.mktemp("theatre")
    with jackd(RATE, "-S", "-t", "2000", period=256), Stage(folder) as stage:
        found = Theatre(stage, np.tile(tune, 30), "--host", "127.0.0.2", "--records", folder / "takes")
        yield found
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(20) == 0, found.complaints


def test_recordings_are_transcribed_over_http(theatre, demo, network):
    samples, rate = demo
    recognizer = Recognizer(rate, None, network)
    expected = notes(recognizer.push(samples) + recognizer.flush(), rate)
    answer = theatre.post("transcribe", (DATA / "demo.ogg").read_bytes())
    assert answer.status_code == 200
    assert answer.json() == json.loads(msgspec.json.encode(expected))
    midi = theatre.post("transcribe", (DATA / "demo.ogg").read_bytes(), format="mid")
    assert midi.content[:4] == b"MThd"


@pytest.mark.parametrize(
    ("content", "parameters", "status", "word"),
    [
        (b"noise", {}, 422, "not audio"),
        (b"", {}, 422, "empty"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", {}, 422, "audio"),
        (b"", {"format": "pdf"}, 400, "format"),
        (bytes(65 << 20), {}, 413, "MiB"),
    ],
)
def test_what_is_no_recording_is_answered_with_a_status(theatre, content, parameters, status, word):
    answer = theatre.post("transcribe", content, **parameters)
    assert answer.status_code == status
    assert word in answer.json()["error"]
    assert "/tmp" not in answer.text  # noqa: S108 (where it must not say that it is)


def test_too_much_at_once_is_put_off(theatre, tmp_path):
    soundfile.write(tmp_path / "long.flac", np.random.default_rng(0).normal(0, 0.1, 60 * 16_000), 16_000)
    answers = []
    content = (tmp_path / "long.flac").read_bytes()
    clients = [
        threading.Thread(target=lambda: answers.append(theatre.post("transcribe", content).status_code)) for _ in range(6)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(answers) == {200, 503}


def test_without_room_for_a_recording_it_is_refused(theatre):
    size = theatre.process.pid, resource.RLIMIT_FSIZE
    before, most = resource.prlimit(*size)
    resource.prlimit(*size, (1_000, most))
    try:
        answer = theatre.post("transcribe", bytes(2_000))
    finally:
        resource.prlimit(*size, (before, most))
    assert answer.status_code == 507
    assert "room" in answer.json()["error"]


def test_figures_and_a_description(theatre):
    assert "rtmelody_listening 1.0" in theatre.get("metrics").text
    paths = theatre.get("openapi.json").json()["paths"]
    assert {"/transcribe", "/health", "/metrics", "/report"} <= set(paths)
    assert theatre.get("report").status_code == 404  # there is no score


def test_strangers_are_refused(theatre):
    refused = httpx.get(theatre.url)
    assert refused.status_code == 401
    assert "frame-ancestors 'none'" in refused.headers["content-security-policy"]
    assert httpx.post(f"{theatre.url}transcribe", content=b"x").status_code == 401
    address = theatre.url.replace("http", "ws")
    for query, headers in (("", {}), ("?token=wrong", {}), (f"?token={theatre.token}", {"Origin": "http://evil.example"})):
        with pytest.raises(InvalidStatus), connect(f"{address}live{query}", additional_headers=headers):
            pass


def test_a_viewer_hears_and_commands(theatre):
    theatre.play()
    with theatre.socket("live") as viewer:
        until(viewer, lambda message: message.get("event", {}).get("fate") == "announced")
        note = until(viewer, lambda message: message.get("event", {}).get("event") == "on")
        assert 55 <= note["event"]["midi"] <= 80
        for strange in (
            "",
            999 * "[",
            "{",
            "[]",
            '{"do": 7}',
            '{"do": "speed", "value": "warp"}',
            '{"do": "threshold", "value": []}',
            '{"do": "threshold", "value": ' + 400 * "9" + "}",
            "x" * 9_999,
        ):
            viewer.send(strange)
        viewer.send(json.dumps({"do": "threshold", "value": 0.0}))  # below what keeps a note sounding
        viewer.send(json.dumps({"do": "mute", "value": True}))
        viewer.send(json.dumps({"do": "speed", "value": "fast"}))
        viewer.send(json.dumps({"do": "record", "value": True}))
        until(viewer, lambda message: (state := message.get("state")) and state["muted"] and state["recording"])
        viewer.send(json.dumps({"do": "record", "value": False}))
        viewer.send(json.dumps({"do": "mute", "value": False}))
        until(viewer, lambda message: (state := message.get("state")) and not state["muted"] and not state["recording"])


def test_frozen_viewers_and_a_flood_of_connections_harm_nobody(theatre):
    """Five never read, and a thousand connections are opened by somebody else: fifteen hear on."""
    address = theatre.url.removeprefix("http://").rstrip("/").split(":")
    with ExitStack() as stack:
        _frozen, watching = ([stack.enter_context(theatre.socket("live")) for _ in range(count)] for count in (5, 15))
        with suppress(OSError):  # the system may refuse some of them
            for _ in range(1_000):
                stack.enter_context(socket.create_connection((address[0], int(address[1])), timeout=2))
        for viewer in watching:
            until(viewer, lambda message: message.get("event", {}).get("event") == "on")
    wait_for(lambda: "rtmelody_viewers 0.0" in theatre.get("metrics").text)
    assert "rtmelody_overflows_total 0.0" in theatre.get("metrics").text


def test_microphones_have_a_limit_and_malformed_samples_an_answer(theatre):
    with ExitStack() as stack:
        streams = [stack.enter_context(theatre.socket("microphone", rate=16_000)) for _ in range(MOST)]
        for stream in streams:
            assert json.loads(stream.recv(timeout=30)) == {"ready": 16_000}
        with theatre.socket("microphone", rate=16_000) as another, pytest.raises(ConnectionClosed, match="4429"):
            another.recv(timeout=10)
        streams[0].send(b"abc")
        with pytest.raises(ConnectionClosed, match="4400"):
            streams[0].recv(timeout=10)
    for rate in ("fast", "%C2%B2", "9" * 5_000):  # the second is a digit, but no number
        with theatre.socket("microphone", rate=rate) as wrong, pytest.raises(ConnectionClosed, match="4400"):
            wrong.recv(timeout=10)


def test_samples_that_a_browser_sends_give_the_notes_of_the_file(theatre, demo, network):
    samples, rate = demo
    recognizer = Recognizer(rate, None, network)
    expected = [event.pitch for event in recognizer.push(samples) + recognizer.flush() if isinstance(event, NoteOn)]
    with theatre.socket("microphone", rate=rate) as stream:
        assert json.loads(stream.recv(timeout=30)) == {"ready": rate}
        for start in range(0, len(samples), 4_096):
            stream.send(samples[start : start + 4_096].tobytes())
        stream.send("end")
        heard = [json.loads(message) for message in stream]  # until it is closed
    assert [event["midi"] for event in heard if event["event"] == "on"] == expected
    assert len(heard) == 2 * len(expected)


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_the_page_in_a_browser(theatre, size, tmp_path):
    """Notes appear, keys work, nothing is wrong in the console, and axe finds nothing to complain about."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(theatre.url + f"?token={theatre.token}")
        wait_for(lambda: page.evaluate("/[A-G].?[2-6]/.test(document.getElementById('note').textContent)"))
        assert "token" not in page.url
        page.keyboard.press("m")
        page.wait_for_selector("#mute[aria-pressed=true]")
        page.keyboard.press("m")
        page.wait_for_selector("#mute[aria-pressed=false]")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") == "BUTTON"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        drawn = "(() => { const c = document.getElementById('roll'); return c.getContext('2d')"
        drawn += ".getImageData(0, 0, c.width, c.height).data.some((value, place) => place % 4 < 3 && value > 150) })()"
        wait_for(lambda: page.evaluate(drawn))
        page.screenshot(path=tmp_path / "page.png")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run().then((found) => found.violations.map((one) => one.id + ': ' + one.help))")
        browser.close()
    assert found == []
    assert complaints == []


def test_a_page_that_is_not_known_any_more_says_what_to_do(theatre):
    keep = "window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); window.live = this; } }"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page()
        page.add_init_script(keep)
        page.goto(theatre.url + f"?token={theatre.token}")
        page.wait_for_function("window.live?.readyState === WebSocket.OPEN")
        page.context.clear_cookies()
        page.evaluate("live.close()")
        page.get_by_text("Open the link that the terminal shows").wait_for()
        browser.close()


def test_a_page_that_hears_nothing_connects_anew(theatre):
    """However long the line itself keeps quiet about it."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page()
        page.goto(theatre.url + f"?token={theatre.token}")
        page.get_by_text("kHz").wait_for()
        theatre.process.send_signal(signal.SIGSTOP)
        try:
            page.get_by_text("fallen silent").wait_for()
        finally:
            theatre.process.send_signal(signal.SIGCONT)
        page.get_by_text("kHz").wait_for()
        browser.close()


def test_the_browser_as_the_microphone(theatre, demo, network, tmp_path):
    """Chromium plays a file as its microphone: what it sent gives the notes of `transcribe`, nine in ten those of the file."""
    samples = resample_poly(demo[0], 44_100, demo[1]).astype(np.float32)
    soundfile.write(tmp_path / "tune.wav", samples, 44_100)
    sent = bytearray()

    def collect(data):
        sent.extend(data)

    with sync_playwright() as driver:
        capture = f"--use-file-for-fake-audio-capture={tmp_path / 'tune.wav'}%noloop"
        arguments = [*CHROMIUM, capture, f"--unsafely-treat-insecure-origin-as-secure={theatre.url}"]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = browser.new_page()
        page.on("websocket", lambda socket: socket.on("framesent", collect) if "microphone" in socket.url else None)
        page.add_init_script("window.own = []; document.addEventListener('own', ({detail}) => own.push(detail))")
        page.goto(theatre.url + f"?token={theatre.token}")
        began = time.monotonic()
        page.click("#microphone")
        page.wait_for_selector("#microphone[aria-pressed=true]")
        page.wait_for_timeout(1000 * (len(samples) / 44_100 + 2))
        heard = [event["midi"] for event in page.evaluate("window.own") if event["event"] == "on"]
        listened = time.monotonic() - began
        browser.close()
    assert len(sent) / 4 <= listened * 44_100  # no sample twice
    # A busy machine makes Chromium skip: then it is not the file that was sent.
    assert heard == _pitches(np.frombuffer(sent, "<f4"), network)
    expected = _pitches(samples, network)
    assert _common(heard, expected) >= 0.9 * len(expected)


def _pitches(samples, network):
    """Of the notes in them, at 44.1 kHz."""
    recognizer = Recognizer(44_100, None, network)
    return [event.pitch for event in recognizer.push(samples) + recognizer.flush() if isinstance(event, NoteOn)]


def _common(one, other):
    """Length of the longest common subsequence."""
    best = [0] * (len(other) + 1)
    for a in one:
        before = 0
        for place, b in enumerate(other, 1):
            before, best[place] = best[place], before + 1 if a == b else max(best[place], best[place - 1])
    return best[-1]


def test_an_address_that_is_taken_is_said_in_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "rtmelody", "monitor", "--port", str(taken.getsockname()[1]), "--device", "nobody"]
        found = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 11
    assert "choose another --port" in found.stderr
