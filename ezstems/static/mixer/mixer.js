// The mixer of one song: lanes, transport and controls put together.

import { announce, showProblem } from "../page.js";
import { BeatsPanel } from "./beats_panel.js";
import { Chunks } from "./chunks.js";
import { Click, clicked } from "./click.js";
import { CloseUp } from "./close_up.js";
import { Drag } from "./drag.js";
import { Edges } from "./edges.js";
import { listenToExports } from "./export.js";
import { gainsOf } from "./gains.js";
import { Graph } from "./graph.js";
import { keepLoop, keepMix, restore } from "./kept.js";
import { listenToKeys, rememberedSwitch, skipOf } from "./keyboard.js";
import { FULL_VOLUME_PERCENT } from "./lane.js";
import { Loop } from "./loop.js";
import { measured } from "./loudness.js";
import { Media } from "./media.js";
import { Original } from "./original.js";
import { listenToPointer } from "./pointer.js";
import { Presets } from "./presets.js";
import { Pulse } from "./pulse.js";
import { Scrubber } from "./scrub.js";
import { Tempo } from "./tempo.js";
import { RATE_HZ } from "./time.js";
import { Transport } from "./transport.js";
import { View } from "./view.js";
import { Zoom } from "./zoom.js";

export class Mixer {
  #root;
  #lanes;
  #ruler;
  #length;
  #transport;
  #loop;
  #graph;
  #view;
  #zoom;
  #closeUp;
  #edges;
  #presets;
  #original; // null where there is none
  #media;
  #pulse;
  #tempo;
  #click = new Click();
  #beats;
  #drag;
  #selected = 0;

  constructor(root, { lanes, ruler, sources, original, music }) {
    this.#root = root;
    this.#lanes = lanes;
    this.#ruler = ruler;
    this.#length = Math.max(...sources.map((source) => source.frames));
    this.#original = original && new Original(lanes.length);
    const heard = original ? [...sources, original] : sources;
    this.#graph = new Graph(heard.length + 1); // the last is the click
    const chunks = new Chunks(heard, this.#length);
    const read = original ? measured(chunks, this.#original.loudness) : chunks;
    this.#transport = new Transport(clicked(read, this.#click), this.#graph, this.#length, {
      changed: () => this.#pulse.follow(),
      failed: showProblem,
    });
    this.#drag = new Drag({
      transport: this.#transport,
      scrubber: new Scrubber(clicked(chunks, this.#click), this.#graph, this.#length),
      seek: (frame) => this.#seek(frame),
      play: () => this.#play(),
    });
    this.#loop = new Loop(this.#transport, this.#length, () => this.#loopChanged());
    const parts = { transport: this.#transport, loop: this.#loop, length: this.#length };
    this.#zoom = new Zoom(root, { ...parts, changed: () => this.#sightChanged() });
    this.#view = new View(root, { lanes, ruler, zoom: this.#zoom, ...parts });
    this.#edges = new Edges(root, { ...parts, zoom: this.#zoom, snap: (frame) => this.snap(frame) });
    const readChunk = (number, signal) => chunks.readAside(number, lanes.length, signal);
    this.#closeUp = new CloseUp(lanes.map((lane) => lane.wave), { read: readChunk, ready: music });
    this.#presets = new Presets(this.#part("preset"), lanes);
    this.#media = new Media({
      name: root.dataset.name,
      length: this.#length,
      transport: this.#transport,
      act: (command) => this.#act(command),
    });
    this.#pulse = new Pulse({ transport: this.#transport, graph: this.#graph, view: this.#view, media: this.#media });
    this.#tempo = new Tempo(root, this.#graph, this.#transport);
    this.#beats = new BeatsPanel(root, {
      click: this.#click,
      transport: this.#transport,
      length: this.#length,
      rate: () => this.#tempo.value.tempo,
      changed: () => this.#beatsChanged(),
      snapping: () => this.#loop.isOn && this.#mark(this.#loop.region.start, this.#loop.region.end, true),
    });
    music.then((found) => this.#beats.guess(found));
    restore(root.dataset.song, lanes, this.#loop, this.#transport);
    this.#listenToLanes();
    this.#listenToWave(ruler.canvas, true);
    this.#listenToControls();
    window.addEventListener("pagehide", () => {
      this.#transport.pause();
      chunks.abandon();
      this.#closeUp.close();
      this.#graph.close();
      this.#media.close();
    });
    for (const control of root.querySelectorAll("[data-needs-stems]")) control.disabled = false;
    this.#tempo.enable();
    this.#part("original").hidden = !original;
    this.#setGains();
    this.#presets.show();
    this.#view.showPosition();
    this.#view.showState("ready");
  }

  #part(name) {
    return this.#root.querySelector(`[data-part="${name}"]`);
  }

  #mixChanged() {
    this.#original?.leave();
    this.#setGains();
    this.#presets.show();
    keepMix(this.#root.dataset.song, this.#lanes);
  }

  #beatsChanged() {
    this.#transport.renew();
    this.#setGains();
    this.#ruler.setBeats(this.#beats.beats);
  }

  #loopChanged() {
    this.#view.showLoop();
    this.#edges.show();
    keepLoop(this.#root.dataset.song, this.#loop);
  }

  #sightChanged() {
    this.#view.showWaves();
    this.#edges.show();
    this.#closeUp.show(this.#zoom.window);
  }

  #reset() {
    for (const lane of this.#lanes) lane.set({ muted: false, solo: false, volume: FULL_VOLUME_PERCENT });
    this.#loop.clear();
    return "The mix is as it was separated";
  }

  #compare() {
    const said = this.#original.toggle(gainsOf(this.#lanes));
    this.#setGains();
    return said;
  }

  #setGains() {
    const stems = gainsOf(this.#lanes);
    const gains = this.#original?.gains(stems) ?? stems;
    this.#view.showOriginal(this.#original?.isOn ?? false);
    this.#graph.setGains([...gains, this.#beats.volume]);
    this.#lanes.forEach((lane, number) => lane.showGain(gains[number]));
  }

  #listenToLanes() {
    this.#lanes.forEach((lane, number) => {
      lane.changed = () => this.#mixChanged();
      for (const name of ["pointerdown", "focusin"]) lane.element.addEventListener(name, () => this.#select(number));
      this.#listenToWave(lane.canvas, false);
    });
  }

  #listenToWave(canvas, isRuler) {
    listenToPointer(canvas, {
      isRuler,
      frameAt: (fraction) => this.#zoom.frameAt(fraction),
      scrub: (frame) => this.#drag.move(frame),
      drop: (frame) => this.#drag.drop(frame),
      cancel: () => this.#drag.cancel(),
      mark: (one, other, isDone) => this.#mark(one, other, isDone),
      unmark: () => this.#loop.cancel(),
    });
  }

  /** Make a loop from one frame to another, on beats where loops are. */
  #mark(one, other, isDone) {
    const [start, end] = [one, other].map((frame) => this.snap(frame) / this.#length);
    this.#loop.mark(start, end, isDone);
  }

  /** Return where a loop's edge that is put at a frame lies: there, or, where loops are on beats, on the nearest. */
  snap(frame) {
    return this.#beats.snapped(frame);
  }

  #listenToControls() {
    const commands = { play: "toggle", loop: "loop", "loop-start": "loopIn", "loop-end": "loopOut" };
    Object.assign(commands, { keys: "help", original: "original", reset: "reset" });
    for (const [name, command] of Object.entries(commands)) {
      this.#part(name).addEventListener("click", () => this.#act({ do: command }));
    }
    for (const zoom of ["in", "out", "whole"]) this.#part(`zoom-${zoom}`).addEventListener("click", () => this.#act({ do: "zoom", zoom }));
    const seek = this.#part("seek");
    seek.addEventListener("change", () => this.#seek(Number(seek.value) * RATE_HZ));
    seek.addEventListener("keydown", (event) => {
      const seconds = skipOf(event);
      if (seconds === null) return;
      event.preventDefault();
      this.#act({ do: "skip", seconds });
    });
    listenToKeys((command) => this.#act(command), rememberedSwitch(this.#part("shortcuts")));
    listenToExports(this.#part("exports"), this.#lanes, () => this.#tempo.value);
    this.#part("click-volume").addEventListener("input", () => this.#setGains());
  }

  #act(command) {
    const transport = this.#transport;
    const lane = this.#lanes[command.lane ?? this.#selected];
    const acts = {
      toggle: () => (transport.isPlaying ? transport.pause() : this.#play((frame) => this.#countIn(frame))),
      skip: () => this.#seek(transport.position + command.seconds * RATE_HZ),
      seek: () => this.#seek(command.seconds * RATE_HZ),
      toStart: () => this.#seek(0),
      toEnd: () => this.#seek(this.#length),
      loop: () => this.#loop.toggle(),
      loopIn: () => this.#loop.setStart(this.snap(transport.position)),
      loopOut: () => this.#loop.setEnd(this.snap(transport.position)),
      mute: () => announce(lane.toggle("muted")),
      solo: () => announce(lane.toggle("solo")),
      soloLane: () => lane && announce(lane.toggle("solo")),
      select: () => announce(`${this.#select(this.#selected + command.by).stem} selected`),
      original: () => this.#original && announce(this.#compare()),
      preset: () => announce(this.#presets.apply(command.preset, lane)),
      reset: () => announce(this.#reset()),
      stretch: () => announce(this.#tempo.step(command.by)),
      beats: () => announce(this.#beats.act(command.beats)),
      zoom: () => announce(this.#zoom.act(command.zoom)),
      help: () => this.#part("help").showModal(),
    };
    acts[command.do]();
  }

  #play(leadTo) {
    showProblem(null);
    this.#zoom.reveal(this.#transport.position);
    this.#transport.play(leadTo);
  }

  #countIn(frame) {
    return this.#click.countIn(frame, this.#lanes.length + (this.#original ? 1 : 0));
  }

  #seek(frame) {
    this.#transport.seek(frame);
    this.#zoom.reveal(this.#transport.position);
    this.#view.showPosition();
    this.#media.show();
  }

  #select(number) {
    this.#selected = Math.max(0, Math.min(this.#lanes.length - 1, number));
    this.#lanes.forEach((lane, other) => lane.select(other === this.#selected));
    return this.#lanes[this.#selected];
  }
}
