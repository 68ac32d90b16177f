// The pointer's drag over a waveform: what is under it is heard, and what played before plays on where it ends.

export class Drag {
  #transport;
  #scrubber;
  #seek;
  #play;
  #wasPlaying = null; // null while nothing is dragged
  #from = 0; // where the song was before

  /** `seek` goes to a frame and shows it, `play` plays on. */
  constructor({ transport, scrubber, seek, play }) {
    this.#transport = transport;
    this.#scrubber = scrubber;
    this.#seek = seek;
    this.#play = play;
  }

  /** Go on with the drag, or begin it, at a frame. */
  move(frame) {
    if (this.#wasPlaying === null) {
      this.#wasPlaying = this.#transport.isPlaying;
      this.#from = this.#transport.position;
      this.#transport.pause();
    }
    this.#seek(frame);
    this.#scrubber.move(frame);
  }

  /** End a drag where it began. */
  cancel() {
    this.drop(this.#from);
  }

  /** End a drag, or a click, at a frame. */
  drop(frame) {
    const wasPlaying = this.#wasPlaying;
    this.#wasPlaying = null;
    if (wasPlaying !== null) this.#scrubber.end();
    this.#seek(frame);
    if (wasPlaying) this.#play();
  }
}
