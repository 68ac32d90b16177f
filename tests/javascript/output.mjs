// The graph's stand-in: a clock that a test turns, and notes of what would be heard.

/** Wait until what was promised by now is done. */
export const settle = () => new Promise((resolve) => setTimeout(resolve));

/** Stand for the graph: note what is scheduled, as the song's frames of every frame of the clock. */
export class Output {
  frame = 1000;
  started = [];
  wake = async () => {};
  rest() {}
  fadeIn() {}
  close() {}
  get heardFrame() {
    return this.frame;
  }
  prepare(stems) {
    return stems;
  }
  start(pieces, at) {
    const note = { pieces, at, until: Infinity };
    this.started.push(note);
    return { stop: (frame) => (note.until = Math.min(note.until, frame)) };
  }
  seconds(frames) {
    return frames / 44_100;
  }
  fadeOut() {
    return this.frame;
  }

  /** Turn the clock for so many seconds, in which a transport looks at it every so often. */
  async run(transport, seconds, tickSeconds = 0.2) {
    const end = this.frame + Math.round(seconds * 44_100);
    while (this.frame < end) {
      this.frame = Math.min(end, this.frame + Math.round(tickSeconds * 44_100));
      transport.tick();
      await settle();
    }
  }

  /** Return what was heard in a span of the clock: [clock frame, song frame, frames] where either jumps. */
  heard() {
    const spans = [];
    for (const { pieces, at, until } of this.started) {
      let begin = at;
      for (const { start, end } of pieces) {
        const frames = Math.min(end - start, until - begin, this.frame - begin);
        if (frames > 0) {
          const last = spans.at(-1);
          if (last && last[0] + last[2] === begin && last[1] + last[2] === start) last[2] += frames;
          else spans.push([begin, start, frames]);
        }
        begin += end - start;
      }
    }
    return spans;
  }
}
