// Mixes with a name: which lanes are muted; volumes stay as they are, so that one's balance isn't lost.

const OWN = "own";
const isVoice = (stem) => stem === "vocals";

/** Return the presets of a song's stems: {id, label, muted}, `muted` being the stems that are. */
export function presetsOf(stems) {
  // With two stems the accompaniment isn't an instrument that one plays: karaoke and a cappella are all there is.
  const instruments = stems.length > 2 ? stems.filter((stem) => !isVoice(stem)) : [];
  return [
    { id: "everything", label: "Everything", muted: [] },
    { id: "karaoke", label: "Karaoke", muted: stems.filter(isVoice) },
    { id: "a cappella", label: "A cappella", muted: stems.filter((stem) => !isVoice(stem)) },
    ...instruments.map((stem) => ({ id: `practise ${stem}`, label: `Practise ${stem}`, muted: [stem] })),
  ];
}

/** Return the preset that lanes are in, or null. */
export function presetIn(presets, lanes) {
  if (lanes.some((lane) => lane.solo)) return null;
  const muted = lanes.filter((lane) => lane.muted).map((lane) => lane.stem);
  return presets.find((preset) => String(preset.muted) === String(muted)) ?? null;
}

export class Presets {
  #select;
  #lanes;
  #presets;

  /** Offer the presets in a select. */
  constructor(select, lanes) {
    this.#select = select;
    this.#lanes = lanes;
    this.#presets = presetsOf(lanes.map((lane) => lane.stem));
    select.append(...this.#presets.map(({ id, label }) => new Option(label, id)));
    const own = new Option("Your own", OWN);
    own.disabled = true; // it is made on the lanes
    select.append(own);
    select.addEventListener("change", () => this.apply(select.value));
    this.show();
  }

  /** Mute what a preset mutes; `practise` alone means a lane's stem. Return what to say of it. */
  apply(id, chosen = null) {
    const wanted = id === "practise" ? { label: `Practise ${chosen.stem}`, muted: [chosen.stem] } : this.#find(id);
    for (const lane of this.#lanes) lane.set({ muted: wanted.muted.includes(lane.stem), solo: false });
    return wanted.label;
  }

  #find(id) {
    return this.#presets.find((preset) => preset.id === id);
  }

  /** Show which preset the lanes are in. */
  show() {
    this.#select.value = presetIn(this.#presets, this.#lanes)?.id ?? OWN;
  }
}
