// One stem's lane on the page: its buttons, slider, meter and waveform.

import { MAX_VOLUME_PERCENT } from "./gains.js";
import { Wave } from "./wave.js";

export const FULL_VOLUME_PERCENT = 100;
const QUIETEST_DB = 60; // below this the meter is empty

export class Lane {
  /** `changed` is called whenever a button or the slider was used; the mixer sets it. */
  changed = () => {};
  peaks = new Uint8Array(); // none

  constructor(element) {
    this.element = element;
    this.stem = element.dataset.lane;
    this.url = element.dataset.url;
    this.muted = false;
    this.solo = false;
    this.volume = FULL_VOLUME_PERCENT;
    this.canvas = this.#part("wave");
    this.wave = new Wave(this.canvas);
    this.#part("mute").addEventListener("click", () => this.toggle("muted"));
    this.#part("solo").addEventListener("click", () => this.toggle("solo"));
    const slider = this.#part("volume");
    slider.addEventListener("input", () => this.set({ volume: Number(slider.value) }));
    slider.addEventListener("dblclick", () => this.set({ volume: FULL_VOLUME_PERCENT }));
    // What a browser remembers of the form of an earlier visit isn't what is heard.
    this.#show();
    for (const name of ["controls", "wave", "volume", "percent", "level"]) this.#part(name).hidden = false;
  }

  /** What was set on the lane. */
  get settings() {
    return { muted: this.muted, solo: this.solo, volume: this.volume };
  }

  /** Set some of `muted`, `solo` and `volume`; what no lane can have is left as it is. */
  set({ muted, solo, volume }) {
    if (typeof muted === "boolean") this.muted = muted;
    if (typeof solo === "boolean") this.solo = solo;
    if (Number.isInteger(volume) && volume >= 0 && volume <= MAX_VOLUME_PERCENT) this.volume = volume;
    this.#show();
    this.changed();
  }

  #show() {
    this.#part("mute").setAttribute("aria-pressed", String(this.muted));
    this.#part("solo").setAttribute("aria-pressed", String(this.solo));
    const slider = this.#part("volume");
    slider.value = this.volume;
    slider.style.setProperty("--filled", String(this.volume / MAX_VOLUME_PERCENT));
    slider.setAttribute("aria-valuetext", `${this.volume} %`);
    this.#part("percent").textContent = `${this.volume} %`;
    this.#part("percent").toggleAttribute("data-full", this.volume === FULL_VOLUME_PERCENT);
  }

  #part(name) {
    return this.element.querySelector(`[data-part="${name}"]`);
  }

  /** Switch `muted` or `solo`; return what to say of it. */
  toggle(what) {
    this.set({ [what]: !this[what] });
    return `${this.stem}${this[what] ? "" : " not"} ${what}`;
  }

  /** Show whether the lane is heard at all. */
  showGain(gain) {
    this.element.toggleAttribute("data-muted", gain === 0);
  }

  /** Mark the lane as the one that keys act on. */
  select(isSelected) {
    if (isSelected) this.element.setAttribute("aria-current", "true");
    else this.element.removeAttribute("aria-current");
  }

  /** Show how much of the stem has arrived, null for a while of unknown length; 1 ends it. */
  showLoading(fraction) {
    const progress = this.#part("loading");
    progress.hidden = fraction === 1;
    if (fraction === null) progress.removeAttribute("value");
    else progress.value = fraction;
  }

  /** Show a loudness, RMS of full scale. */
  showLevel(rms) {
    this.#part("level").value = meterOf(rms);
  }
}

/** Return how full a meter is at a loudness: by decibels, as it is heard. */
export function meterOf(rms) {
  return rms > 0 ? Math.max(0, 1 + (20 * Math.log10(rms)) / QUIETEST_DB) : 0;
}
