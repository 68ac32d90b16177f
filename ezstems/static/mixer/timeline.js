// What is scheduled on the output's clock: blocks in their order, and which of the song's frames each time plays.

import { frameIn } from "./plan.js";

export class Timeline {
  #blocks = []; // {pieces, frames, at, handle}

  get isEmpty() {
    return this.#blocks.length === 0;
  }

  /** The clock's frame after all that is scheduled. */
  get end() {
    const last = this.#blocks.at(-1);
    return last ? last.at + last.frames : -Infinity;
  }

  add(block) {
    this.#blocks.push(block);
  }

  /** Return the song's frame at a time of the clock; before the first and after the last block it stands still. */
  frameAt(time) {
    const block = this.#blocks.findLast(({ at }) => at <= time) ?? this.#blocks[0];
    return frameIn(block.pieces, Math.min(block.frames, time - block.at));
  }

  /** Forget the blocks that were over before a time; the last one stays. */
  forget(time) {
    while (this.#blocks[1]?.at <= time) this.#blocks.shift();
  }

  /** Silence everything from a time on. */
  stop(time) {
    for (const { handle } of this.#blocks) handle.stop(time);
  }

  /** Keep what is scheduled before a time alone; return the song's frame that would have been next, if one would. */
  cut(time) {
    let next;
    this.#blocks = this.#blocks.filter((block) => {
      if (block.at + block.frames <= time) return true;
      block.handle.stop(time);
      next ??= frameIn(block.pieces, time - block.at);
      block.frames = time - block.at;
      return block.frames > 0;
    });
    return next;
  }
}
