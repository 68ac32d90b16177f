// The output's clock in the song's own frames: it runs slower or faster than the sound card's with the tempo.
//
// What is scheduled back to back in whole frames of the song lies back to back in whole frames of the card, too.

export class Clock {
  #rate;
  #card = 0; // where the rate was set, in the card's frames
  #own = 0; // and in our own

  constructor(rate = 1) {
    this.#rate = rate;
  }

  /** Frames of the song that pass in one of the card. */
  get rate() {
    return this.#rate;
  }

  /** Run at another rate from a frame of the card on. */
  setRate(rate, cardFrame) {
    [this.#own, this.#card] = [this.at(cardFrame), cardFrame];
    this.#rate = rate;
  }

  /** Return our frame at one of the card. */
  at(cardFrame) {
    return this.#own + (cardFrame - this.#card) * this.#rate;
  }

  /** Return the card's whole frame at one of ours. */
  cardFrame(ownFrame) {
    return Math.round(this.#card + (ownFrame - this.#own) / this.#rate);
  }
}
