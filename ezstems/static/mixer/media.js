// Headphone buttons, the lock screen and the tab's title: what the device shows of the song, and what it asks for.

import { RATE_HZ } from "./time.js";

const STEP_SECONDS = 5;
// Shorter sounds are taken for a notification's, and get no buttons.
const SILENCE_SECONDS = 10;
const SILENCE_RATE_HZ = 8000;
const PLAYING = "▶ ";

/** Return what each of the device's buttons asks the mixer for. */
export function commandsOf(isPlaying) {
  const skip = (sign) => (details) => ({ do: "skip", seconds: sign * (details.seekOffset || STEP_SECONDS) });
  return {
    play: () => (isPlaying() ? null : { do: "toggle" }),
    pause: () => (isPlaying() ? { do: "toggle" } : null),
    stop: () => (isPlaying() ? { do: "toggle" } : null),
    seekbackward: skip(-1),
    seekforward: skip(1),
    previoustrack: () => ({ do: "skip", seconds: -STEP_SECONDS }),
    nexttrack: () => ({ do: "skip", seconds: STEP_SECONDS }),
    seekto: ({ seekTime }) => (Number.isFinite(seekTime) ? { do: "seek", seconds: seekTime } : null),
  };
}

/** Make a WAV file of silence: 8 bits, one channel. */
export function silence() {
  const bytes = SILENCE_SECONDS * SILENCE_RATE_HZ;
  const header = new DataView(new ArrayBuffer(44));
  const write = (at, text) => [...text].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, SILENCE_RATE_HZ, true);
  header.setUint32(28, SILENCE_RATE_HZ, true);
  header.setUint16(32, 1, true);
  header.setUint16(34, 8, true);
  write(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, new Uint8Array(bytes).fill(128)], { type: "audio/wav" });
}

export class Media {
  #transport;
  #seconds;
  #element = null;
  #title = document.title;

  /** Tell the device of a song of some frames; `act` gets what its buttons ask for. */
  constructor({ name, length, transport, act }) {
    this.#transport = transport;
    this.#seconds = length / RATE_HZ;
    if (!navigator.mediaSession) return;
    navigator.mediaSession.metadata = new MediaMetadata({ title: name, artist: "EzStems" });
    for (const [action, ask] of Object.entries(commandsOf(() => transport.isPlaying))) {
      try {
        navigator.mediaSession.setActionHandler(action, (details) => {
          const command = ask(details);
          if (command) act(command);
        });
      } catch {
        // A button that this browser doesn't know.
      }
    }
  }

  /** Show whether the song plays, and where it is. */
  show() {
    const { isPlaying, position } = this.#transport;
    document.title = isPlaying ? PLAYING + this.#title : this.#title;
    this.#playSilence(isPlaying);
    if (!navigator.mediaSession) return;
    navigator.mediaSession.playbackState = isPlaying ? "playing" : "paused";
    const seconds = Math.max(0, Math.min(this.#seconds, position / RATE_HZ));
    if (this.#seconds > 0) navigator.mediaSession.setPositionState({ duration: this.#seconds, position: seconds });
  }

  /** Browsers give these buttons to a page that plays an element: one of silence stands for the sound of the stems. */
  #playSilence(isPlaying) {
    if (isPlaying && !this.#element) {
      this.#element = new Audio(URL.createObjectURL(silence()));
      this.#element.loop = true;
    }
    if (isPlaying) this.#element.play().catch(() => {}); // then the page's own buttons are all there is
    else this.#element?.pause();
  }

  /** Give the device back. */
  close() {
    this.#element?.pause();
    document.title = this.#title;
  }
}
