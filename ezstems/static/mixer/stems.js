// Open the stems of a song: WAV where it lies on the server, anything else decoded beforehand, one after the other.

import { request } from "../http.js";
import { decodeStem } from "./decoded.js";
import { decodePeaks } from "./peaks.js";
import { WavSource } from "./pcm.js";

/** Return one source a lane; each lane shows how far its own is. */
export async function openStems(lanes, areWav) {
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

/** Draw the lanes' waveforms; songs of before there were any keep a flat line. */
export async function showPeaks(lanes, url) {
  const { stems } = await (await request(url)).json();
  for (const lane of lanes) {
    if (stems[lane.stem]) lane.wave.setPeaks(decodePeaks(stems[lane.stem]));
  }
}
