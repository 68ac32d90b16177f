// The original beside the stems: it plays along unheard, and is heard in their place while it is compared.

import { Loudness } from "./loudness.js";

export class Original {
  #loudness;
  #factors = { mix: 1, original: 1 };

  /** Compare with a number of stems, after which the original is the last source. */
  constructor(stems) {
    this.isOn = false;
    this.#loudness = new Loudness(stems + 1);
  }

  /** Where what is read is measured. */
  get loudness() {
    return this.#loudness;
  }

  /** Hear the other one, as loud as what was heard before. */
  toggle(gains) {
    this.isOn = !this.isOn;
    this.#factors = this.#loudness.factors(gains);
    return this.isOn ? "The original is heard" : "Your mix is heard";
  }

  /** Go back to the mix as it is: it was changed, and is no longer compared. */
  leave() {
    this.isOn = false;
    this.#factors = { mix: 1, original: 1 };
  }

  /** Return the gains of the stems and of the original. */
  gains(stems) {
    return this.isOn ? [...stems.map(() => 0), this.#factors.original] : [...stems.map((gain) => gain * this.#factors.mix), 0];
  }
}
