// The piano roll: notes, provisional notes and the pitch curve of the last seconds, scrolling with the engine's clock.

const SECONDS = 10;
const MARGIN = 4; // semitones around what was played
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

export const noteName = (midi) => `${NAMES[midi % 12]}${Math.floor(midi / 12) - 1}`;

const colour = (confidence) => `hsl(${Math.round(200 - 160 * (1 - confidence))} 85% ${Math.round(45 + 20 * confidence)}%)`;

export class Roll {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    this.low = 55;
    this.high = 79;
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  clear() {
    this.notes = []; // {midi, from, to, confidence}; `to` is null while it sounds
    this.guesses = []; // {midi, from, to, fate}: announced early, then confirmed, corrected or retracted
    this.curve = []; // [seconds, pitch]; pitch null where nothing sounds
  }

  on(event) {
    this.off({ at: event.onset }); // if that was lost on the way
    this.notes.push({ midi: event.midi, from: event.onset, to: null, confidence: event.confidence });
  }

  off(event) {
    const last = this.notes.at(-1);
    if (last && last.to === null) last.to = event.at;
  }

  provisional(event) {
    const guess = this.guesses.at(-1);
    const open = guess && !guess.fate; // after an announcement, only if its end was lost on the way
    if (open) Object.assign(guess, { to: event.at, fate: event.fate === "announced" ? "retracted" : event.fate });
    if (event.fate === "announced") this.guesses.push({ midi: event.midi, from: event.at, to: null, fate: "" });
  }

  state(state, at) {
    const sounds = state.sounding !== null && state.cents !== null;
    this.curve.push([at, sounds ? state.sounding + state.cents / 100 : null]);
    this.forget(at - SECONDS - 1); // here: a page that is not seen is not drawn
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.ratio = ratio;
  }

  draw(now) {
    this.fit();
    const paper = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    const x = (at) => width * (1 - (now - at) / SECONDS);
    const row = height / (this.high - this.low + 1);
    const y = (pitch) => height - (pitch - this.low + 0.5) * row;
    paper.clearRect(0, 0, width, height);
    this.lines(paper, width, row, y);
    for (const guess of this.guesses) {
      if (guess.fate === "confirmed") continue;
      const to = x(guess.to ?? now);
      paper.globalAlpha = guess.fate ? 0.7 : 0.4;
      paper.fillStyle = paper.strokeStyle = guess.fate ? "#ff8a80" : "#e8edf2";
      paper.lineWidth = this.ratio;
      const box = [x(guess.from), y(guess.midi) - row / 2, Math.max(3 * this.ratio, to - x(guess.from)), row * 0.9];
      if (guess.fate) paper.strokeRect(...box);
      else paper.fillRect(...box);
    }
    paper.globalAlpha = 1;
    paper.font = `${Math.round(Math.min(14 * this.ratio, row * 1.1))}px system-ui, sans-serif`;
    for (const note of this.notes) {
      paper.fillStyle = colour(note.confidence);
      const from = x(note.from);
      paper.fillRect(from, y(note.midi) - row / 2, Math.max(2, x(note.to ?? now) - from), row * 0.9);
      paper.fillText(noteName(note.midi), from, y(note.midi) - row * 0.7);
    }
    this.trace(paper, x, y);
  }

  lines(paper, width, row, y) {
    paper.fillStyle = "#232b33";
    for (let pitch = this.low; pitch <= this.high; pitch += 1) {
      if ([1, 3, 6, 8, 10].includes(pitch % 12)) paper.fillRect(0, y(pitch) - row / 2, width, row);
    }
  }

  trace(paper, x, y) {
    paper.strokeStyle = "#ffffffcc";
    paper.lineWidth = 1.5 * this.ratio;
    paper.beginPath();
    let drawing = false;
    for (const [at, pitch] of this.curve) {
      if (pitch === null) drawing = false;
      else if (drawing) paper.lineTo(x(at), y(pitch));
      else {
        paper.moveTo(x(at), y(pitch));
        drawing = true;
      }
    }
    paper.stroke();
  }

  fit() {
    const pitches = this.notes.map((note) => note.midi);
    if (!pitches.length) return;
    this.low = Math.min(Math.min(...pitches) - MARGIN, this.high - 18);
    this.high = Math.max(Math.max(...pitches) + MARGIN, this.low + 18);
  }

  forget(before) {
    this.notes = this.notes.filter((note) => note.to === null || note.to > before);
    this.guesses = this.guesses.filter((guess) => (guess.to ?? guess.from) > before);
    this.curve = this.curve.filter(([at]) => at > before);
  }
}
