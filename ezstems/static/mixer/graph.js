// The nodes of Web Audio: a gain and an analyser a stem, their sum, what moves its pitch if anything, then a fader and
// an analyser for the mix.
//
// All frames are the song's: where its tempo is changed, the clock runs by it.

import { Clock } from "./clock.js";
import { resampled } from "./resample.js";
import { kindOf } from "./samples.js";
import { isPlain, makeShifter, PLAIN, shiftOf } from "./stretch.js";
import { RATE_HZ } from "./time.js";

// No click where the sound is cut, nor where a gain changes: it nears its new value by the e-th part in this time.
const EASE_SECONDS = 0.003;
const FADE_SECONDS = 6 * EASE_SECONDS; // then 52 dB are gone
// The card is ahead of the clock that the page reads: in Firefox by 20 ms. What begins earlier would begin with a jump.
const AHEAD_SECONDS = 0.03;
const FADE_TURN_MS = 10; // to look whether a fade is over; a card that stands still isn't waited for any longer
const FADE_TURNS = 30;
const REST_MS = 1000; // after a pause the sound card is let go
const WINDOW_FRAMES = 2048;

export class Graph {
  #count;
  #context = null; // made by the first gesture: browsers allow no sound before it
  #stems = [];
  #sum = null;
  #shifter = null; // while it is in the way
  #shifters = new WeakMap(); // of contexts, once made
  #clock = new Clock();
  #stretch = PLAIN;
  #fader = null;
  #meter = null;
  #gains;
  #resting = null;
  #silentSeconds = 0; // until then what was stopped last fades out
  #window = new Float32Array(WINDOW_FRAMES);

  /** Called with the Problem where tempo and key, set beforehand, can't be changed after all; it plays unchanged. */
  stretchFailed = () => {};

  constructor(count) {
    this.#count = count;
    this.#gains = Array(count).fill(1);
  }

  /** Be ready to sound; to be called from a gesture. */
  async wake() {
    clearTimeout(this.#resting);
    if (!this.#context) this.#build();
    const shifted = this.#putShifter().catch((problem) => this.stretchFailed(problem));
    await this.#context.resume();
    await shifted;
  }

  #build() {
    const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "balanced" });
    const analyser = () => new AnalyserNode(context, { fftSize: WINDOW_FRAMES });
    this.#sum = new GainNode(context);
    this.#fader = new GainNode(context);
    this.#sum.connect(this.#fader);
    this.#meter = analyser();
    this.#fader.connect(this.#meter).connect(context.destination);
    this.#stems = this.#gains.map((value) => {
      const stem = { gain: new GainNode(context, { gain: value }), meter: analyser() };
      stem.gain.connect(stem.meter).connect(this.#sum);
      return stem;
    });
    this.#context = context;
  }

  /** Play at another tempo and in another key; to be called while nothing is scheduled. */
  async setStretch(stretch) {
    this.#stretch = stretch;
    this.#clock.setRate(stretch.tempo, this.#cardFrame);
    if (this.#context) await this.#putShifter();
  }

  /** Put the node that moves the pitch in the way, or take it out: what isn't changed isn't touched. */
  async #putShifter() {
    const context = this.#context;
    const isWanted = !isPlain(this.#stretch);
    if (!isWanted && !this.#shifter) return;
    if (isWanted && !this.#shifters.has(context)) this.#shifters.set(context, makeShifter(context));
    let shifter = null;
    try {
      shifter = isWanted ? await this.#shifters.get(context) : null;
      await this.#faded(context);
      await shifter?.shift(shiftOf(this.#stretch));
    } catch (problem) {
      this.#shifters.delete(context);
      this.#stretch = PLAIN;
      this.#clock.setRate(PLAIN.tempo, this.#cardFrame);
      throw problem;
    }
    if (context !== this.#context || isWanted === isPlain(this.#stretch)) return; // it was changed meanwhile
    if (shifter === this.#shifter) return;
    this.#sum.disconnect();
    this.#shifter?.node.disconnect();
    if (shifter) this.#sum.connect(shifter.node).connect(this.#fader);
    else this.#sum.connect(this.#fader);
    this.#shifter = shifter;
  }

  /** Wait until what was stopped isn't heard any more. */
  async #faded(context) {
    const isHeard = () => context.state === "running" && context.currentTime < this.#silentSeconds;
    for (let turn = 0; turn < FADE_TURNS && isHeard(); turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, FADE_TURN_MS));
    }
  }

  get #cardFrame() {
    return this.#context ? Math.round(this.#context.currentTime * RATE_HZ) : 0;
  }

  get #latencySeconds() {
    return this.#shifter?.latencySeconds ?? 0;
  }

  /** The clock, in frames. */
  get frame() {
    return Math.round(this.#clock.at(this.#cardFrame));
  }

  /** The clock of what comes out of the loudspeaker. */
  get heardFrame() {
    const seconds = (this.#context?.outputLatency ?? 0) + this.#latencySeconds;
    return this.frame - Math.round(seconds * RATE_HZ * this.#clock.rate);
  }

  /** Return how many seconds some frames last. */
  seconds(frames) {
    return frames / RATE_HZ / this.#clock.rate;
  }

  #time(frame) {
    return this.#clock.cardFrame(frame) / RATE_HZ;
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
    // Begin and end are whole frames of the card, which the next one joins; the sound is made to last just that.
    const begin = this.#clock.cardFrame(at);
    const end = this.#clock.cardFrame(at + buffers[0].length);
    const nodes = buffers.map((buffer, stem) => {
      const node = new AudioBufferSourceNode(this.#context, { buffer: resampled(buffer, end - begin) });
      node.connect(this.#stems[stem].gain);
      return node;
    });
    for (const node of nodes) {
      node.start(begin / RATE_HZ);
      node.stop(end / RATE_HZ); // even if it begins late
    }
    nodes[0].onended = ended;
    return {
      stop: (frame) => {
        nodes[0].onended = null;
        for (const node of nodes) node.stop(Math.max(0, Math.min(end / RATE_HZ, this.#time(frame))));
      },
    };
  }

  /** Silence what plays; return the frame from which it is silent. */
  fadeOut() {
    if (!this.#context) return 0;
    const from = this.#context.currentTime + AHEAD_SECONDS;
    const { gain } = this.#fader;
    gain.cancelScheduledValues(from);
    gain.setTargetAtTime(0, from, EASE_SECONDS);
    this.#silentSeconds = from + FADE_SECONDS;
    return Math.ceil(this.#clock.at(this.#silentSeconds * RATE_HZ));
  }

  /** Let sound what begins at a frame. */
  fadeIn(at) {
    const { gain } = this.#fader;
    const seconds = this.#time(at) + this.#latencySeconds; // until then, the end of what was before comes out
    gain.setValueAtTime(0, seconds);
    gain.setTargetAtTime(1, seconds, EASE_SECONDS);
  }

  /** Set each stem's gain. */
  setGains(gains) {
    this.#gains = gains;
    this.#stems.forEach(({ gain: { gain } }, stem) => {
      gain.setTargetAtTime(gains[stem], this.#context.currentTime + AHEAD_SECONDS, EASE_SECONDS);
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
    [this.#context, this.#stems, this.#sum, this.#fader, this.#meter, this.#shifter] = [null, [], null, null, null, null];
    this.#clock = new Clock(this.#stretch.tempo);
    this.#silentSeconds = 0;
  }
}
