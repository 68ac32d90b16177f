// A choice, on or off, that this browser keeps; where its storage isn't ours to use, it holds for the visit.

export class Choice {
  #key;
  #isOnAtFirst;
  #unkept = null;

  constructor(key, isOnAtFirst) {
    this.#key = key;
    this.#isOnAtFirst = isOnAtFirst;
  }

  get isOn() {
    const value = this.#unkept ?? this.#kept();
    return this.#isOnAtFirst ? value !== "off" : value === "on";
  }

  set isOn(isOn) {
    const value = isOn ? "on" : "off";
    try {
      localStorage.setItem(this.#key, value);
      this.#unkept = null;
    } catch {
      this.#unkept = value;
    }
  }

  #kept() {
    try {
      return localStorage.getItem(this.#key);
    } catch {
      return null;
    }
  }
}
