// What canvases have in common: as many pixels as the screen has there, and the page's colours.

/** Fit a canvas' pixels to the screen's, which clears it; return colours by name, each as the stylesheet has it there. */
export function fitted(canvas, colours) {
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
  const found = {};
  for (const [name, colour] of Object.entries(colours)) {
    // A drawing takes no var(): the browser resolves it as a real property's value.
    canvas.style.color = colour;
    found[name] = getComputedStyle(canvas).color;
  }
  canvas.style.color = "";
  return found;
}
