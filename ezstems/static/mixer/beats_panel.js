// The controls of beats, click and count-in: the server's guess, and what somebody makes of it.

import { announce } from "../page.js";
import { Beats, BEATS_OF_BARS, correctionsOf, FASTEST_BPM, guessOf, isBpm, KEYS, SLOWEST_BPM, UNCORRECTED } from "./beats.js";
import { recall, remember } from "./memory.js";
import { tapped } from "./taps.js";
import { RATE_HZ } from "./time.js";

const TAP_PATIENCE_MS = 2500; // a tap after that begins anew
const BOUNDS = `A tempo is ${SLOWEST_BPM} to ${FASTEST_BPM} BPM`;
const UNKNOWN = "The song's tempo isn't known yet: set or tap it first";
const SWITCHES = { click: "isOn", "count-in": "countsIn", snap: "snaps" };

export class BeatsPanel {
  #root;
  #click;
  #transport;
  #length;
  #rate;
  #changed;
  #snapping;
  #guess = { tempo: null, key: null };
  #taps = []; // {ms, second, isPlaying}
  beats;
  snaps = false;
  volume = 0.5;

  /** `rate` returns how fast the song plays; `changed` is called after every change but the volume's, `snapping` when loops are to be on beats from now on. */
  constructor(root, { click, transport, length, rate, changed, snapping }) {
    this.#root = root;
    this.#length = length;
    this.#rate = rate;
    this.#snapping = snapping;
    this.#click = click;
    this.#transport = transport;
    this.#changed = changed;
    for (const beats of BEATS_OF_BARS) this.#part("bar-beats").add(new Option(beats, beats));
    for (const key of KEYS) this.#part("song-key").add(new Option(key, key));
    this.#recall();
    this.#listen();
    this.#part("beats").hidden = false;
  }

  #part(name) {
    return this.#root.querySelector(`[data-part="${name}"]`);
  }

  #recall() {
    const kept = Object(recall(this.#root.dataset.song, "beats"));
    const { volume } = kept;
    if (typeof volume === "number" && volume >= 0 && volume <= 1) this.volume = volume;
    this.#click.isOn = kept.isOn === true;
    this.#click.countsIn = kept.countsIn === true;
    this.snaps = kept.snaps === true;
    this.#take(correctionsOf(kept.corrections));
  }

  #listen() {
    this.#part("bpm").addEventListener("change", ({ target }) => this.#setBpm(target));
    this.#part("bpm-half").addEventListener("click", () => announce(this.#scale(0.5)));
    this.#part("bpm-double").addEventListener("click", () => announce(this.#scale(2)));
    this.#part("tap").addEventListener("click", () => this.act("tap"));
    this.#part("beat-one").addEventListener("click", () => announce(this.act("beat-one")));
    this.#part("bar-beats").addEventListener("change", ({ target }) => this.#correct({ perBar: Number(target.value) }));
    this.#part("song-key").addEventListener("change", ({ target }) => this.#correct({ key: target.value || null }));
    this.#part("beats-reset").addEventListener("click", () => this.#set(UNCORRECTED));
    this.#part("beats").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#part("beats").open) return;
      this.#part("beats").open = false;
      this.#part("beats").querySelector("summary").focus();
    });
    for (const name of Object.keys(SWITCHES)) this.#part(name).addEventListener("click", () => announce(this.act(name)));
    this.#part("click-volume").addEventListener("input", ({ target }) => {
      this.volume = Number(target.value) / 100;
      this.#keep();
    });
  }

  /** Take the server's guess, `tempo` and `key`, if it has any. */
  guess(found) {
    this.#guess = guessOf(found);
    this.#take(this.beats.corrections);
    this.#changed();
  }

  /** Do what a key or a button asks for; return what to say of it. */
  act(name) {
    if (name === "tap") return this.#tap();
    const place = name === "snap" ? this : this.#click;
    const isOn = !place[SWITCHES[name]]; // from now on
    if (isOn && !this.beats.isKnown) {
      this.#part("beats").open = true; // it says so, too
      this.#part("beats-note").scrollIntoView({ block: "nearest" });
      return UNKNOWN;
    }
    if (name === "beat-one") {
      this.#set(this.beats.beginAt(this.#transport.position / RATE_HZ));
      return "A bar begins here";
    }
    place[SWITCHES[name]] = isOn;
    this.#keep();
    this.#changed();
    if (name === "snap" && isOn) this.#snapping();
    return `${this.#part(name).textContent} ${isOn ? "on" : "off"}`;
  }

  /** Return a frame, or, where loops are on beats, that of the nearest beat. */
  snapped(frame) {
    return this.snaps && this.beats.isKnown ? this.beats.frameNear(frame) : frame;
  }

  #setBpm(field) {
    const bpm = field.valueAsNumber;
    if (isBpm(bpm)) this.#correct({ bpm });
    else announce(this.#refuse());
  }

  /** Show what the tempo is, and what it can be; return that. */
  #refuse() {
    this.#show();
    this.#part("beats-note").textContent = `${BOUNDS}.`;
    return BOUNDS;
  }

  #scale(factor) {
    if (!this.beats.isKnown) return UNKNOWN;
    const before = this.beats.bpm;
    this.#set(this.beats.scaled(factor));
    return this.beats.bpm === before ? this.#refuse() : `${Math.round(10 * this.beats.bpm) / 10} BPM`;
  }

  #tap() {
    const ms = performance.now();
    const { isPlaying, position } = this.#transport;
    const last = this.#taps.at(-1);
    if (last && (ms - last.ms > TAP_PATIENCE_MS || isPlaying !== last.isPlaying)) this.#taps = [];
    this.#taps.push({ ms, second: position / RATE_HZ, isPlaying });
    // While it plays, the taps say where its beats are, too, whatever tempo it is played at.
    const line = tapped(this.#taps, isPlaying ? this.#rate() : 1);
    if (!line) return "Tap on";
    const rounded = Math.round(10 * line.bpm) / 10;
    this.#correct({ bpm: rounded, shift: 0, ...(isPlaying ? { one: line.one } : {}) });
    return `${rounded} BPM`;
  }

  #correct(change) {
    this.#set({ ...this.beats.corrections, ...change });
  }

  #set(corrections) {
    this.#take(correctionsOf(corrections));
    this.#keep();
    this.#changed();
  }

  #take(corrections) {
    this.beats = new Beats(this.#length / RATE_HZ, this.#guess.tempo, corrections);
    this.#click.beats = this.beats;
    this.#show();
  }

  #keep() {
    const { isOn, countsIn } = this.#click;
    const { snaps, volume } = this;
    remember(this.#root.dataset.song, "beats", { corrections: this.beats.corrections, isOn, countsIn, snaps, volume });
    this.#show();
  }

  #show() {
    const { corrections, bpm } = this.beats;
    const key = corrections.key ?? this.#guess.key?.name ?? "";
    const shown = bpm === null ? "" : String(Math.round(10 * bpm) / 10);
    this.#part("bpm").value = shown;
    this.#part("bar-beats").value = corrections.perBar;
    this.#part("song-key").value = key;
    this.#part("click-volume").value = Math.round(100 * this.volume);
    this.#part("click-volume").style.setProperty("--filled", String(this.volume));
    this.#part("click-volume").setAttribute("aria-valuetext", `${Math.round(100 * this.volume)} %`);
    for (const [name, isOn] of Object.entries({ click: this.#click.isOn, "count-in": this.#click.countsIn, snap: this.snaps })) {
      this.#part(name).setAttribute("aria-pressed", String(isOn));
    }
    this.#part("beats-text").textContent = [shown && `${Math.round(bpm)} BPM`, key].filter(Boolean).join(" · ") || "Beats";
    this.#part("beats-note").textContent = this.#note;
    this.#root.dataset.bpm = shown;
  }

  get #note() {
    const { tempo, key } = this.#guess;
    const found = [tempo && `${Math.round(10 * tempo.bpm) / 10} BPM`, key?.name].filter(Boolean).join(", ");
    const guess = found ? `Guessed from the sound: ${found}. Correct it where it is wrong.` : "";
    return tempo ? guess : `${guess} No tempo was found in the sound: set it, or tap it.`.trim();
  }
}
