/**
 * What does the board know?
 *
 * Messages of the live feed go in, what is shown comes out; nothing here touches the page or the socket. Values are
 * absolute and versioned, so one that comes twice or late does no harm.
 */

export const POINTS = { minute: 60, hour: 24, day: 30 };
export const EVENTS_SHOWN = 20;

/**
 * @typedef {{value: number | null, n: number, numerator?: number, denominator?: number, p50?: number, p95?: number,
 *   exact?: boolean, lower?: number, upper?: number}} Value  `exact` is left out when it is true
 * @typedef {Value & {bucket: number, version?: number, first?: Value, corrected_at?: string, known?: string, until?: number}} Point
 * @typedef {{kpi: string, area: string, tier: string, zone: string, last_minute: number | null, points: Point[]}} Series
 * @typedef {{event: Record<string, any>, committed_at: string, position: string}} EventItem
 * @typedef {{id: string, names: Record<string, string>, declared: boolean, simulated: boolean, silent_after_s: number,
 *   n: number, time: string | null, received_at: string | null}} Source
 */

export class Model {
  constructor() {
    /** @type {Map<string, {zone: string, lastMinute: number | null, points: Map<number, Point>}>} */
    this.series = new Map();
    /** Newest first. @type {EventItem[]} */
    this.events = [];
    /** @type {Map<string, Source>} */
    this.sources = new Map();
    this.loaded = false;
    /** Of a bucket of the past that nobody spoke of nothing is known. */
    this.isPast = false;
    /** Server time less ours, in ms. */
    this.clockOffsetMs = 0;
  }

  /** The server's time. @param {number} nowMs */
  now(nowMs) {
    return nowMs + this.clockOffsetMs;
  }

  /** @param {any} message @param {number} nowMs */
  apply(message, nowMs) {
    if (message.time) this.clockOffsetMs = Date.parse(message.time) - nowMs;
    if (message.op === "snapshot") this.#replace(message);
    if (message.op === "change") this.#change(message);
  }

  /** @param {{series: Series[], events: EventItem[], sources: Source[]}} snapshot */
  #replace(snapshot) {
    this.series = new Map(snapshot.series.map((one) => [
      one.kpi,
      { zone: one.zone, lastMinute: one.last_minute, points: new Map(one.points.map((p) => [p.bucket, p])) },
    ]));
    this.events = [...snapshot.events].reverse().slice(0, EVENTS_SHOWN);
    this.sources = new Map(snapshot.sources.map((source) => [source.id, source]));
    this.loaded = true;
  }

  /** @param {{values: any[], events: EventItem[], sources: Source[]}} change */
  #change(change) {
    for (const value of change.values) {
      const series = this.series.get(value.kpi);
      if (!series) continue;
      const known = series.points.get(value.bucket);
      if (known && (known.version ?? 0) > value.version) continue;
      series.points.set(value.bucket, value);
      series.lastMinute = Math.max(series.lastMinute ?? 0, value.last_minute);
    }
    if (change.events.length > 0) {
      this.events = [...[...change.events].reverse(), ...this.events].slice(0, EVENTS_SHOWN);
    }
    for (const source of change.sources) this.sources.set(source.id, source);
    this.loaded = true;
  }

  /**
   * The last points up to now, oldest first. What has grown too old is forgotten; a minute or hour that nobody spoke
   * of is empty, and a balance is what it was before.
   * @param {string} kpi @param {"minute" | "hour" | "day"} tier @param {number} nowMs @param {import("../shared/format.js").Measure} measure
   * @returns {Point[]}
   */
  points(kpi, tier, nowMs, measure) {
    const series = this.series.get(kpi);
    if (!series) return [];
    const nowS = this.now(nowMs) / 1000;
    const sorted = [...series.points.keys()].filter((bucket) => bucket <= nowS).sort((a, b) => a - b);
    const widthS = { minute: 60, hour: 3600, day: 0 }[tier];
    const last = sorted.at(-1);
    // Time goes on without messages, so the present bucket is put in when nothing has happened in it yet.
    if (widthS && last !== undefined) {
      for (let bucket = last + widthS; bucket <= nowS && sorted.length < 10000; bucket += widthS) sorted.push(bucket);
    }
    const shown = sorted.slice(-POINTS[tier]);
    for (const bucket of series.points.keys()) {
      if (shown.length > 0 && bucket < shown[0]) series.points.delete(bucket);
    }
    /** @type {Point | undefined} */
    let before;
    return shown.map((bucket) => {
      const empty = measure === "balance" && before ? { ...before, bucket } : { bucket, value: addsUp(measure) && !this.isPast ? 0 : null, n: 0 };
      before = series.points.get(bucket) ?? empty;
      return before;
    });
  }
}

/** Whether nothing is 0: then a line's points are bars. @param {import("../shared/format.js").Measure} measure */
export function addsUp(measure) {
  return measure === "count" || measure === "sum" || measure === "distinct";
}

/** The last point that has events: what a tile shows. @param {Point[]} points */
export function headline(points) {
  return points.findLast((point) => point.n > 0 && point.value !== null);
}
