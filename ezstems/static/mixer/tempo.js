// The controls of tempo and key.

import { announce, showProblem } from "../page.js";
import { recall, remember } from "./memory.js";
import { FASTEST, isPlain, MOST_SEMITONES, PLAIN, SLOWEST, stretchOf } from "./stretch.js";

// Browsers give worklets to pages of localhost and over TLS only.
const NO_WORKLETS = "Tempo and key need a page that came over https, or from this very computer.";

export class Tempo {
  #root;
  #graph;
  #transport;
  #isFree;
  #changing = Promise.resolve();
  value = PLAIN;

  constructor(root, graph, transport) {
    this.#root = root;
    this.#graph = graph;
    this.#transport = transport;
    this.#isFree = isSecureContext && "audioWorklet" in BaseAudioContext.prototype;
    if (!this.#isFree) this.#part("stretch-note").textContent = NO_WORKLETS;
    for (const [name, valueOf] of [["tempo", tempoOf], ["semitones", Number]]) {
      const slider = this.#part(name);
      slider.addEventListener("input", () => this.#show({ ...this.value, [name]: valueOf(slider.value) }));
      slider.addEventListener("change", () => this.set({ [name]: valueOf(slider.value) }));
      slider.addEventListener("dblclick", () => this.set({ [name]: PLAIN[name] }));
    }
    this.#part("stretch-reset").addEventListener("click", () => this.set(PLAIN));
    graph.stretchFailed = (problem) => this.fail(problem);
    if (this.#isFree) this.set(stretchOf(recall(root.dataset.song, "tempo")));
    else this.#show(PLAIN);
  }

  #part(name) {
    return this.#root.querySelector(`[data-part="${name}"]`);
  }

  /** Disable what can't work here; to be called when the other controls begin to. */
  enable() {
    for (const name of ["tempo", "semitones", "stretch-reset"]) this.#part(name).disabled = !this.#isFree;
  }

  /** Change the tempo by so many percent, or the key by semitones; return what to say of it. */
  step({ percent = 0, semitones = 0 }) {
    if (!this.#isFree) return NO_WORKLETS;
    const tempo = Math.max(SLOWEST, Math.min(FASTEST, tempoOf(Math.round(100 * this.value.tempo) + percent)));
    const key = Math.max(-MOST_SEMITONES, Math.min(MOST_SEMITONES, this.value.semitones + semitones));
    this.set({ tempo, semitones: key });
    return `Tempo ${tempoText(this.value)}, key ${keyText(this.value)}`;
  }

  /** Set tempo and key, or one of them: what plays goes on from where it is. */
  set(change) {
    this.value = { ...this.value, ...change };
    this.#show(this.value);
    remember(this.#root.dataset.song, "tempo", isPlain(this.value) ? null : this.value);
    this.#changing = this.#changing.then(() => this.#apply());
  }

  async #apply() {
    const wasPlaying = this.#transport.isPlaying;
    this.#transport.pause();
    try {
      await this.#graph.setStretch(this.value);
    } catch (problem) {
      this.fail(problem);
    }
    if (wasPlaying) this.#transport.play();
  }

  /** Play on unchanged, and say why. */
  fail(problem) {
    this.value = PLAIN;
    this.#show(PLAIN);
    showProblem(problem);
    announce(problem.message);
  }

  #show(value) {
    this.#part("tempo").value = Math.round(100 * value.tempo);
    this.#part("semitones").value = value.semitones;
    for (const [name, text] of [["tempo", tempoText(value)], ["semitones", keyText(value)]]) {
      const slider = this.#part(name);
      slider.setAttribute("aria-valuetext", text);
      slider.style.setProperty("--filled", String((slider.value - slider.min) / (slider.max - slider.min)));
      this.#part(`${name}-text`).textContent = text;
    }
    this.#root.dataset.tempo = value.tempo;
    this.#root.dataset.semitones = value.semitones;
  }
}

function tempoOf(percent) {
  return Number(percent) / 100;
}

function tempoText({ tempo }) {
  return `${Math.round(100 * tempo)} %`;
}

function keyText({ semitones }) {
  return semitones > 0 ? `+${semitones}` : `${semitones}`.replace("-", "−");
}
