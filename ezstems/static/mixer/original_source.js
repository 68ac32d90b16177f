// The song itself, as it was uploaded, by its preview.

import { canDecode, PreviewSource, previewsOf } from "./preview_source.js";

/** Return a source of a mixer's song; null where its upload isn't kept, or has no preview (yet). */
export async function openOriginal(root) {
  const url = root.dataset.previews;
  const contents = await previewsOf(url);
  if (!contents?.sounds.original) return null;
  const source = new PreviewSource(`${url}/original`, contents);
  return (await canDecode(source)) ? source : null;
}
