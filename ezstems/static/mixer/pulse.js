// The pulse of a song that plays: what time makes due is done, and what is shown follows what is heard.

const TICK_MS = 200;

export class Pulse {
  #transport;
  #graph;
  #view;
  #media;
  #timer = null;

  constructor({ transport, graph, view, media }) {
    this.#transport = transport;
    this.#graph = graph;
    this.#view = view;
    this.#media = media;
  }

  /** Show the transport's new state; beat while it plays. */
  follow() {
    this.#view.showState(this.#transport.state);
    if (this.#transport.isPlaying && this.#timer === null) {
      this.#timer = setInterval(() => this.#tick(), TICK_MS);
      this.#view.animate();
    }
    if (!this.#transport.isPlaying) {
      clearInterval(this.#timer);
      this.#timer = null;
      this.#view.showSilence();
    }
    this.#view.showPosition();
    this.#media.show();
  }

  #tick() {
    this.#transport.tick();
    if (this.#timer === null) return; // the song has just ended
    this.#view.showLevels(this.#graph.levels());
    this.#view.showPosition();
  }
}
