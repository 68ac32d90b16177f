// The two kinds of samples that stems come in, always two channels interleaved: 16-bit integers, and floats.

export const INTEGERS = { code: 1, bits: 16, array: Int16Array, fullScale: 32768 };
export const FLOATS = { code: 3, bits: 32, array: Float32Array, fullScale: 1 };
const KINDS = [INTEGERS, FLOATS];

/** Return the kind that a WAV header's code and bits name, undefined where it is none of these. */
export function kindNamed(code, bits) {
  return KINDS.find((kind) => kind.code === code && kind.bits === bits);
}

/** Return the kind of an array's samples. */
export function kindOf(pcm) {
  return KINDS.find(({ array }) => pcm instanceof array);
}

/** Return the bytes of a frame. */
export function frameBytes({ array }) {
  return 2 * array.BYTES_PER_ELEMENT;
}
