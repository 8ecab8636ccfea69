/**
 * What is there to do, in what order, and what is new since when?
 *
 * Messages of the live feed go in, or pages of `GET /v1/cases`; nothing here touches the page or the network.
 */

/**
 * @typedef {{id: string, version: number, kind: string, state: string, open: boolean, category: string, severity: string,
 *   area: string, title: string, excerpt?: string, opened_at: string, changed_at: string, members: number, units?: string[],
 *   names?: Record<string, string>, place?: string, agency?: string, due_at?: string, acknowledged_by?: string,
 *   escalations?: number, exercise?: boolean}} Item
 * @typedef {{words: string, state: string, severity: string, agency: string, area: string, mine: boolean}} Filters
 * @typedef {{atMs: number, versions: Record<string, number>}} Glance what was there when somebody looked away
 */

/** The worst first. */
export const SEVERITIES = ["critical", "major", "minor", "info"];
/** What somebody has to have seen before boards fall silent. */
export const SEVERE = new Set(["major", "critical"]);

export class Work {
  constructor() {
    /** @type {Map<string, Item>} */
    this.cases = new Map();
    /** @type {Map<string, any>} */
    this.units = new Map();
    /** @type {Map<string, any>} */
    this.sources = new Map();
    this.hasMore = false;
    this.loaded = false;
  }

  /** Takes a message of the feed. @param {any} message */
  apply(message) {
    if (message.op !== "snapshot" && message.op !== "change") return;
    const whole = message.op === "snapshot" || message.resumed;
    if (whole && message.cases) this.replace(message.cases, message.cases_more === true);
    else if (message.cases) message.cases.forEach((/** @type {Item} */ item) => this.#take(item));
    for (const id of message.cases_gone ?? []) this.cases.delete(id);
    if (!whole && message.cases_more) this.hasMore = true;
    if (whole && message.units) this.units.clear();
    for (const unit of message.units ?? []) this.units.set(unit.id, unit);
    if (message.op === "snapshot") this.sources.clear();
    for (const source of message.sources ?? []) this.sources.set(source.id, source);
  }

  /** Takes the list as a whole. @param {Item[]} items @param {boolean} hasMore */
  replace(items, hasMore) {
    this.cases = new Map(items.map((item) => [item.id, item]));
    this.hasMore = hasMore;
    this.loaded = true;
  }

  /** @param {Item} item */
  #take(item) {
    const known = this.cases.get(item.id);
    if (!known || known.version <= item.version) this.cases.set(item.id, item);
  }

  /** What is shown: those due next first, then what has no deadline by how severe and how old it is. @param {Filters} filters @param {string | null} myAgency */
  list(filters, myAgency) {
    const words = folded(filters.words).split(/\s+/).filter(Boolean);
    return [...this.cases.values()]
      .filter((item) => !filters.mine || item.agency === myAgency)
      .filter((item) => words.every((one) => folded(item.title || item.excerpt || item.id).includes(one)))
      .sort(byDue);
  }

  /** Severe cases that nobody has seen yet. */
  unseen() {
    return [...this.cases.values()].filter((item) => item.open && SEVERE.has(item.severity) && !item.acknowledged_by).sort(byDue);
  }

  /** What to remember when somebody looks away. @param {number} nowMs @returns {Glance} */
  glance(nowMs) {
    return { atMs: nowMs, versions: Object.fromEntries([...this.cases.values()].map((item) => [item.id, item.version])) };
  }

  /** What is different from then. @param {Glance} then */
  since(then) {
    const fresh = new Set(), changed = new Set();
    for (const item of this.cases.values()) {
      if (!(item.id in then.versions)) fresh.add(item.id);
      else if (then.versions[item.id] < item.version) changed.add(item.id);
    }
    const gone = Object.keys(then.versions).filter((id) => !this.cases.has(id));
    return { fresh, changed, gone };
  }
}

/** Letters without marks, so that "duong" finds "Đường". @param {string} text */
export function folded(text) {
  return text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "").replaceAll("đ", "d");
}

/** @param {Item} a @param {Item} b */
function byDue(a, b) {
  if (a.due_at && b.due_at) return Date.parse(a.due_at) - Date.parse(b.due_at) || a.id.localeCompare(b.id);
  if (a.due_at || b.due_at) return a.due_at ? -1 : 1;
  return SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity)
    || Date.parse(a.opened_at) - Date.parse(b.opened_at)
    || a.id.localeCompare(b.id);
}
