// Open the stems of a song: as previews where there are any, else WAV where it lies on the server, and anything else
// decoded beforehand, one after the other.

import { request } from "../http.js";
import { decodeStem } from "./decoded.js";
import { decodePeaks } from "./peaks.js";
import { WavSource } from "./pcm.js";
import { canDecode, PreviewSource } from "./preview_source.js";

/** Return one source a lane; each lane shows how far its own is. `contents` is what there is at the previews' URL. */
export async function openStems(lanes, areWav, previews, contents) {
  const sources = (await openPreviews(lanes, previews, contents)) ?? (await openExact(lanes, areWav));
  for (const lane of lanes) lane.showLoading(1);
  return sources;
}

async function openPreviews(lanes, url, contents) {
  if (!contents || !lanes.every(({ stem }) => contents.sounds[stem])) return null;
  const sources = lanes.map((lane) => new PreviewSource(`${url}/${lane.stem}`, contents));
  return (await canDecode(sources[0])) ? sources : null;
}

async function openExact(lanes, areWav) {
  if (areWav) {
    return Promise.all(
      lanes.map(async (lane) => {
        const source = await WavSource.open(lane.url);
        lane.showLoading(1);
        return source;
      }),
    );
  }
  const sources = [];
  // All at once they would be in memory at once, as floats.
  for (const lane of lanes) {
    sources.push(await decodeStem(lane.url, (fraction) => lane.showLoading(fraction === 1 ? null : fraction)));
    lane.showLoading(1);
  }
  return sources;
}

/** Draw the lanes' waveforms; return tempo and key. Songs of before there were any keep a flat line, or are without. */
export async function showPeaks(lanes, url) {
  const { stems, samples, samples_per_peak: frames, ...music } = await (await request(url)).json();
  for (const lane of lanes) {
    if (!stems[lane.stem]) continue;
    lane.peaks = decodePeaks(stems[lane.stem]);
    lane.wave.setPeaks(lane.peaks, frames, samples);
  }
  return music;
}
