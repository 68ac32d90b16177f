// The song itself, as it was uploaded, by its preview.

import { canDecode, PreviewSource } from "./preview_source.js";

/** Return a source of a mixer's song, of whose previews `contents` tells; null where its upload isn't kept, or has no preview (yet). */
export async function openOriginal(root, contents) {
  if (!contents?.sounds.original) return null;
  const source = new PreviewSource(`${root.dataset.previews}/original`, contents);
  return (await canDecode(source)) ? source : null;
}
