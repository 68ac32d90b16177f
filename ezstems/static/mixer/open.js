// Open the mixer of a page: show its lanes, then make its controls work once the stems are there.

import { outlast } from "../http.js";
import { announce, showProblem } from "../page.js";
import { Lane } from "./lane.js";
import { Mixer } from "./mixer.js";
import { openOriginal } from "./original_source.js";
import { previewsOf } from "./preview_source.js";
import { Ruler } from "./ruler.js";
import { openStems, showPeaks } from "./stems.js";
import { onNewLook } from "./wave.js";

/** Open the mixer of a page's section. */
export async function openMixer(root) {
  const lanes = [...root.querySelectorAll("[data-lane]")].map((element) => new Lane(element));
  const ruler = new Ruler(root.querySelector('[data-part="ruler"]'));
  onNewLook(() => [ruler, ...lanes.map((lane) => lane.wave)].forEach((wave) => wave.restyle()));
  for (const part of root.querySelectorAll("[data-needs-scripts]")) part.hidden = false;
  const music = showPeaks(lanes, root.dataset.peaks).catch(() => ({})); // flat lines are no reason not to play
  try {
    const { wav, previews } = root.dataset;
    const open = async () => {
      const status = root.querySelector('[data-part="status"]');
      const contents = await previewsOf(previews, (words) => (status.textContent = words));
      return Promise.all([openStems(lanes, wav !== undefined, previews, contents), openOriginal(root, contents)]);
    };
    const [sources, original] = await outlast(open, { tell: showProblem });
    showProblem(null);
    new Mixer(root, { lanes, ruler, sources, original, music });
    announce("The mixer is ready.");
  } catch (problem) {
    root.dataset.state = "failed";
    lanes.forEach((lane) => lane.showLoading(1));
    showProblem(problem);
  }
}
