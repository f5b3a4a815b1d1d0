// The page: what the server tells is drawn, what is pressed is sent.

import { Microphone } from "./microphone.js";
import { Roll, noteName } from "./roll.js";

const RETRY_MS = 1000;
const LATENCIES = 50;
const BUCKET_MS = 10;
const BUCKETS = 12;
const SHOWN_AHEAD = 12;
const FAULTS = 20;
const SILENT_S = 5; // the server tells its state many times a second

const $ = (id) => document.getElementById(id);
const roll = new Roll($("roll"));
const latencies = [];
const levels = [];
let socket = null;
let heardAt = 0;
let movedAt = -Infinity; // when the threshold was last moved here
let behind = Infinity; // this page's clock, less the engine's: the least of what was seen
let score = [];
let verdicts = new Map();
let place = -1;

const seconds = () => performance.now() / 1000;
const engineNow = () => seconds() - behind;
const send = (name, value) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ do: name, value }));

function connect() {
  heardAt = seconds();
  socket = new WebSocket(new URL("live", location.href.replace(/^http/, "ws")));
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onopen = () => {
    behind = Infinity;
    $("faults").replaceChildren();
    latencies.length = 0;
    roll.clear(); // all of it is told again
  };
  socket.onclose = lost;
}

async function lost({ reason }) {
  device(reason || (await refusal().catch(() => "")) || "no connection: trying again", true);
  setTimeout(connect, RETRY_MS);
}

/* A dead line may close only after minutes, or never. */
function watch() {
  if (socket.readyState > WebSocket.OPEN || seconds() - heardAt < SILENT_S) return;
  socket.onclose = socket.onmessage = null;
  socket.close();
  lost({ reason: "the server has fallen silent: trying again" });
}

/* Why the server turns this page away, if it does (it may have been started anew): a socket is not told. */
async function refusal() {
  const answer = await fetch("health", { signal: AbortSignal.timeout(1000 * SILENT_S) });
  return [401, 403, 429].includes(answer.status) ? answer.text() : "";
}

function hear(message) {
  heardAt = seconds();
  if (message.state) state(message.state);
  if (message.event) event(message.event, message.place);
  if (message.fault) fault(message.fault);
  if (message.score) expect(message.score);
}

function state(now) {
  if (now.sample_rate) behind = Math.min(behind + 0.0005, seconds() - now.seconds); // clocks drift, and the engine may start anew
  roll.state(now, now.seconds);
  levels.push(now.level_db);
  if (levels.length > 300) levels.shift();
  $("level").value = now.level_db;
  $("level").textContent = `${now.level_db.toFixed(0)} dB`;
  $("floor").textContent = `noise floor ${[...levels].sort((a, b) => a - b)[Math.floor(levels.length / 10)].toFixed(0)} dB`;
  $("tuning").textContent = `A4 = ${now.a4_hz.toFixed(1)} Hz`;
  tune(now);
  const losses = `${now.overflows} overflows, ${now.xruns} xruns, ${now.faults} faults${now.unrecorded ? `, ${now.unrecorded} blocks not recorded` : ""}${now.stalled ? ", MIDI stalled" : ""}`;
  device(now.sample_rate ? `${(now.sample_rate / 1000).toFixed(1)} kHz · ${losses}` : `waiting for the input · ${losses}`, !now.sample_rate);
  press("mute", now.muted);
  press("record", now.recording);
  $("threshold").min = now.lowest_threshold;
  if (seconds() - movedAt > 1) $("threshold").value = now.threshold; // not under the hand that moves it
  $("probability").textContent = Number($("threshold").value).toFixed(2);
  $("speed").value = now.speed;
}

function tune(now) {
  const heard = now.sounding ?? now.pending;
  $("note").classList.toggle("faint", now.sounding === null);
  if (heard === null) return;
  $("note").textContent = noteName(heard);
  if (now.sounding === null || now.cents === null) return;
  const cents = Math.max(-50, Math.min(50, now.cents));
  $("needle").style.left = `${50 + cents}%`;
  $("needle").classList.toggle("true", Math.abs(cents) < 5);
  $("cents").textContent = `${now.cents < 0 ? "−" : "+"}${Math.abs(now.cents).toFixed(0)} cents`;
}

function event(told, reached) {
  if (told.event === "off") {
    roll.off(told);
    return;
  }
  if (told.event === "provisional") {
    roll.provisional(told);
    return;
  }
  roll.on(told);
  latencies.push(1000 * (told.at - told.onset));
  if (latencies.length > LATENCIES) latencies.shift();
  histogram();
  $("spoken").textContent = noteName(told.midi);
  document.dispatchEvent(new CustomEvent("note", { detail: told }));
  if (reached !== undefined) follow(reached, told.midi);
}

function histogram() {
  const canvas = $("latency");
  canvas.width = canvas.clientWidth;
  canvas.height = canvas.clientHeight;
  const counts = new Array(BUCKETS).fill(0);
  for (const ms of latencies) counts[Math.min(BUCKETS - 1, Math.floor(ms / BUCKET_MS))] += 1;
  const paper = canvas.getContext("2d");
  paper.fillStyle = "#4fc3f7";
  counts.forEach((count, bucket) => {
    const high = (canvas.height * count) / Math.max(...counts);
    paper.fillRect((bucket * canvas.width) / BUCKETS, canvas.height - high, canvas.width / BUCKETS - 1, high);
  });
  const sorted = [...latencies].sort((a, b) => a - b);
  $("median").textContent = `median ${sorted[Math.floor(sorted.length / 2)].toFixed(0)} ms`;
}

function expect(notes) {
  score = notes;
  verdicts = new Map();
  place = -1;
  $("score").hidden = false;
  strip();
}

function follow(reached, midi) {
  if (reached !== place && score[reached]) verdicts.set(reached, score[reached].pitch === midi ? "right" : "wrong");
  place = reached;
  strip();
}

function strip() {
  const first = Math.max(0, place - 3);
  const items = score.slice(first, first + SHOWN_AHEAD).map((note, offset) => {
    const item = document.createElement("li");
    item.textContent = noteName(note.pitch);
    item.className = verdicts.get(first + offset) ?? "";
    if (first + offset === place + 1) item.classList.add("next");
    return item;
  });
  $("expected").replaceChildren(...items);
}

function fault(line) {
  const item = document.createElement("li");
  item.textContent = line;
  $("faults").prepend(item);
  while ($("faults").children.length > FAULTS) $("faults").lastChild.remove();
}

function device(text, lost) {
  if ($("device").textContent !== text) $("device").textContent = text;
  $("device").classList.toggle("lost", lost);
}

const press = (id, on) => $(id).setAttribute("aria-pressed", String(Boolean(on)));
const pressed = (id) => $(id).getAttribute("aria-pressed") === "true";

const microphone = new Microphone(
  (told) => {
    if (told.event === "on") fault(`this microphone: ${noteName(told.midi)}`);
    document.dispatchEvent(new CustomEvent("own", { detail: told }));
  },
  (reason) => {
    press("microphone", false);
    if (reason) fault(reason);
  },
);

async function listen() {
  if (microphone.running) {
    microphone.stop();
    return;
  }
  $("microphone").disabled = true; // a second click, while the browser asks, would open a second one
  try {
    await microphone.start();
    press("microphone", true);
  } catch (error) {
    fault(error.message);
  } finally {
    $("microphone").disabled = false;
  }
}

const ACTIONS = {
  p: () => send("panic"),
  m: () => send("mute", !pressed("mute")),
  r: () => send("record", !pressed("record")),
};
$("panic").onclick = ACTIONS.p;
$("mute").onclick = ACTIONS.m;
$("record").onclick = ACTIONS.r;
$("microphone").onclick = listen;
$("threshold").oninput = () => {
  movedAt = seconds();
  send("threshold", Number($("threshold").value));
};
$("speed").onchange = () => send("speed", $("speed").value);
document.addEventListener("keydown", ({ key, repeat, target, ctrlKey, metaKey, altKey }) => {
  if (!(repeat || ctrlKey || metaKey || altKey) && target.tagName !== "SELECT") ACTIONS[key]?.();
});

function draw() {
  if (behind < Infinity) roll.draw(engineNow());
  requestAnimationFrame(draw);
}
if (window.location.search) history.replaceState(null, "", location.pathname); // the token is in the cookie now
connect();
setInterval(watch, RETRY_MS);
requestAnimationFrame(draw);
