// What the mixer shows, and what it tells tests and styles in `data-` attributes of its section.

import { meterOf } from "./lane.js";
import { clockText, RATE_HZ, spokenTime } from "./time.js";

const PATIENCE_MS = 400; // shorter waits for data aren't worth words

export class View {
  #root;
  #lanes;
  #ruler;
  #transport;
  #loop;
  #zoom;
  #length;
  #isSliding = false; // that the slider is held
  #frame = 0;

  constructor(root, { lanes, ruler, transport, loop, zoom, length }) {
    this.#root = root;
    this.#lanes = lanes;
    this.#ruler = ruler;
    this.#transport = transport;
    this.#loop = loop;
    this.#zoom = zoom;
    this.#length = length;
    const seek = this.#part("seek");
    seek.max = length / RATE_HZ;
    seek.addEventListener("input", () => {
      this.#isSliding = true;
      this.showPosition();
    });
    for (const name of ["change", "pointerup", "pointercancel", "blur"]) seek.addEventListener(name, () => (this.#isSliding = false));
  }

  #part(name) {
    return this.#root.querySelector(`[data-part="${name}"]`);
  }

  /** Show whether it plays; the words for a wait come only if it lasts. */
  showState(state) {
    this.#root.dataset.state = state;
    this.#part("play-text").textContent = this.#transport.isPlaying ? "Pause" : "Play";
    this.#part("play").toggleAttribute("data-playing", this.#transport.isPlaying);
    setTimeout(() => {
      this.#part("status").textContent = this.#transport.state === "buffering" ? this.#waitText : "";
    }, PATIENCE_MS);
  }

  get #waitText() {
    return this.#transport.isStarting ? "Starting the sound…" : "Waiting for data…";
  }

  /** The second to show: where the song is, or, while the slider is held, where it would go. */
  get #seconds() {
    return this.#isSliding ? Number(this.#part("seek").value) : this.#transport.position / RATE_HZ;
  }

  /** Show where the song is. */
  showPosition() {
    const seconds = this.#seconds;
    const total = this.#length / RATE_HZ;
    this.#root.dataset.position = (this.#transport.position / RATE_HZ).toFixed(3);
    this.#part("time").textContent = `${clockText(seconds)} / ${clockText(total)}`;
    const seek = this.#part("seek");
    if (!this.#isSliding) seek.value = seconds;
    seek.style.setProperty("--filled", String(seconds / total));
    // A focused slider whose text changes by itself would be read aloud without end.
    if (!this.#transport.isPlaying || document.activeElement !== seek) {
      seek.setAttribute("aria-valuetext", spokenTime(seconds, total));
    }
    this.#follow();
    this.showWaves();
  }

  #follow() {
    if (this.#isSliding) this.#zoom.reveal(this.#seconds * RATE_HZ);
    else if (this.#transport.isPlaying) this.#zoom.follow(this.#transport.position);
  }

  /** Draw what is in sight of the song: on the ruler and on every lane. */
  showWaves(isAnimated = false) {
    const view = { window: this.#zoom.window, position: this.#seconds * RATE_HZ, loop: this.#loop.region, isAnimated };
    for (const wave of [this.#ruler, ...this.#lanes.map((lane) => lane.wave)]) wave.show(view);
  }

  /** Move the playheads with the screen, as long as it plays. */
  animate() {
    cancelAnimationFrame(this.#frame);
    this.#follow();
    this.showWaves(true);
    if (this.#transport.isPlaying) this.#frame = requestAnimationFrame(() => this.animate());
  }

  /** Show the loop's ends and whether it is on. */
  showLoop() {
    this.#part("loop").setAttribute("aria-pressed", String(this.#loop.isOn));
    this.#part("loop-text").textContent = this.#loop.text;
    this.#part("loop-hint").hidden = this.#loop.text !== "";
    this.showPosition(); // a loop may have moved it
  }

  /** Show whether the original is heard in the lanes' place. */
  showOriginal(isHeard) {
    this.#root.toggleAttribute("data-original-heard", isHeard);
    this.#part("original").setAttribute("aria-pressed", String(isHeard));
  }

  /** Show how loud each stem and the mix are. */
  showLevels({ stems, mix }) {
    const rounded = (level) => Number(level.toFixed(4));
    const byName = this.#lanes.map((lane, number) => [lane.stem, rounded(stems[number])]);
    this.#root.dataset.levels = JSON.stringify(Object.fromEntries(byName));
    this.#root.dataset.mixLevel = rounded(mix);
    this.#part("mix-level").value = meterOf(mix);
    this.#lanes.forEach((lane, number) => lane.showLevel(stems[number]));
  }

  /** Show that nothing is heard. */
  showSilence() {
    this.showLevels({ stems: this.#lanes.map(() => 0), mix: 0 });
  }
}
