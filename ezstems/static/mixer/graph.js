// The nodes of Web Audio: a gain and an analyser a stem, then a fader and an analyser for the mix.

import { kindOf } from "./samples.js";
import { RATE_HZ } from "./time.js";

const FADE_SECONDS = 0.008; // no click where the sound is cut
const RAMP_SECONDS = 0.015; // nor where a gain changes
const REST_MS = 1000; // after a pause the sound card is let go
const WINDOW_FRAMES = 2048;

export class Graph {
  #count;
  #context = null; // made by the first gesture: browsers allow no sound before it
  #stems = [];
  #fader = null;
  #meter = null;
  #gains;
  #resting = null;
  #window = new Float32Array(WINDOW_FRAMES);

  constructor(count) {
    this.#count = count;
    this.#gains = Array(count).fill(1);
  }

  /** Be ready to sound; to be called from a gesture. */
  async wake() {
    clearTimeout(this.#resting);
    if (!this.#context) this.#build();
    await this.#context.resume();
  }

  #build() {
    const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "balanced" });
    const analyser = () => new AnalyserNode(context, { fftSize: WINDOW_FRAMES });
    this.#fader = new GainNode(context);
    this.#meter = analyser();
    this.#fader.connect(this.#meter).connect(context.destination);
    this.#stems = this.#gains.map((value) => {
      const stem = { gain: new GainNode(context, { gain: value }), meter: analyser() };
      stem.gain.connect(stem.meter).connect(this.#fader);
      return stem;
    });
    this.#context = context;
  }

  /** The clock, in frames. */
  get frame() {
    return this.#context ? Math.round(this.#context.currentTime * RATE_HZ) : 0;
  }

  /** The clock of what comes out of the loudspeaker. */
  get heardFrame() {
    return this.frame - Math.round((this.#context?.outputLatency ?? 0) * RATE_HZ);
  }

  /** Make buffers of one list of interleaved arrays a stem. */
  prepare(stems) {
    return stems.map((parts) => {
      const length = parts.reduce((frames, pcm) => frames + pcm.length / 2, 0);
      const buffer = new AudioBuffer({ length, numberOfChannels: 2, sampleRate: RATE_HZ });
      const [left, right] = [buffer.getChannelData(0), buffer.getChannelData(1)];
      let frame = 0;
      for (const pcm of parts) {
        const { fullScale } = kindOf(pcm);
        for (let i = 0; i < pcm.length; i += 2, frame += 1) {
          left[frame] = pcm[i] / fullScale;
          right[frame] = pcm[i + 1] / fullScale;
        }
      }
      return buffer;
    });
  }

  /** Play one buffer a stem from a frame of the clock on; `ended` is called when they are over. */
  start(buffers, at, ended = () => {}) {
    const nodes = buffers.map((buffer, stem) => {
      const node = new AudioBufferSourceNode(this.#context, { buffer });
      node.connect(this.#stems[stem].gain);
      return node;
    });
    for (const node of nodes) node.start(at / RATE_HZ);
    nodes[0].onended = ended;
    return {
      stop: (frame) => {
        nodes[0].onended = null;
        for (const node of nodes) node.stop(frame / RATE_HZ);
      },
    };
  }

  /** Silence what plays; return the frame from which it is silent. */
  fadeOut() {
    if (!this.#context) return 0;
    const { gain } = this.#fader;
    const now = this.#context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(0, now + FADE_SECONDS);
    return Math.ceil((now + FADE_SECONDS) * RATE_HZ);
  }

  /** Let sound what begins at a frame. */
  fadeIn(at) {
    const { gain } = this.#fader;
    gain.setValueAtTime(0, at / RATE_HZ);
    gain.linearRampToValueAtTime(1, at / RATE_HZ + FADE_SECONDS);
  }

  /** Set each stem's gain. */
  setGains(gains) {
    this.#gains = gains;
    this.#stems.forEach(({ gain: { gain } }, stem) => {
      const now = this.#context.currentTime;
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(gains[stem], now + RAMP_SECONDS);
    });
  }

  /** Return the RMS of each stem and of the mix, as they sound now. */
  levels() {
    return {
      stems: Array.from({ length: this.#count }, (_, stem) => this.#rms(this.#stems[stem]?.meter)),
      mix: this.#rms(this.#meter),
    };
  }

  #rms(meter) {
    if (!meter) return 0;
    meter.getFloatTimeDomainData(this.#window);
    return Math.sqrt(this.#window.reduce((sum, value) => sum + value * value, 0) / WINDOW_FRAMES);
  }

  /** Let the sound card go after a while. */
  rest() {
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => this.#context?.suspend(), REST_MS);
  }

  /** Give everything back; `wake` makes it anew. */
  close() {
    clearTimeout(this.#resting);
    this.#context?.close();
    [this.#context, this.#stems, this.#fader, this.#meter] = [null, [], null, null];
  }
}
