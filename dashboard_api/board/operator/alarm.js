/**
 * When does the page make itself heard?
 *
 * Once for each case that is new, severe and seen by nobody; and only after somebody has allowed it with a click.
 */

const TONES_HZ = [880, 660, 880];
const TONE_S = 0.16;
const LOUD = 0.2;
/** Cases whose alarm was given, remembered so that a reload is not a new alarm. The oldest are forgotten. */
const HEARD_MAX = 1000;

export class Alarm {
  constructor() {
    /** @type {AudioContext | null} */
    this.audio = null;
    /** How often it has sounded. */
    this.sounded = 0;
    /** @type {Set<string>} */
    this.heard = new Set();
    try {
      this.heard = new Set(JSON.parse(sessionStorage.getItem("ioc.heard") ?? "[]"));
    } catch { /* without storage each page hears for itself */ }
  }

  get isOn() {
    return this.audio?.state === "running";
  }

  /** Browsers let a page sound only after a click on it. */
  async turn() {
    if (this.isOn) return this.audio?.suspend();
    this.audio ??= new AudioContext();
    await this.audio.resume();
  }

  /** Takes the cases that nobody has seen; gives those that are new here, and sounds once for all of them. @param {import("./work.js").Item[]} unseen */
  tell(unseen) {
    const fresh = unseen.filter((item) => !this.heard.has(item.id));
    if (fresh.length === 0) return fresh;
    fresh.forEach((item) => this.heard.add(item.id));
    this.heard = new Set([...this.heard].slice(-HEARD_MAX));
    try {
      sessionStorage.setItem("ioc.heard", JSON.stringify([...this.heard]));
    } catch { /* see above */ }
    if (this.isOn) this.#sound();
    return fresh;
  }

  #sound() {
    const audio = /** @type {AudioContext} */ (this.audio);
    this.sounded += 1;
    TONES_HZ.forEach((tone, n) => {
      const from = audio.currentTime + n * TONE_S;
      const voice = audio.createOscillator();
      const volume = audio.createGain();
      voice.frequency.value = tone;
      volume.gain.setValueAtTime(LOUD, from);
      volume.gain.exponentialRampToValueAtTime(0.001, from + TONE_S);
      voice.connect(volume).connect(audio.destination);
      voice.start(from);
      voice.stop(from + TONE_S);
    });
  }
}
