/**
 * Is the board in touch with the server, and since when not?
 *
 * One socket at a time. After a loss it comes back with the last position, later and later and never at the same
 * moment as all the others.
 */

/** Without a word for so long the figures count as stale. Heartbeats come every 2 s. */
export const STALE_AFTER_MS = 4000;
/** A socket that says nothing for so long is given up. */
const GIVE_UP_AFTER_MS = 10000;
const RETRY_MIN_MS = 300;
const RETRY_MAX_MS = 10000;

/** @typedef {"connecting" | "live" | "held" | "stale" | "away" | "stopped"} ConnectionState  `stopped`: nobody counts */

export class Connection {
  /**
   * @param {() => object} wish what to subscribe to
   * @param {(message: any) => void} heard
   */
  constructor(wish, heard) {
    this.wish = wish;
    this.heard = heard;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {string | null} */
    this.position = null;
    /** When a message came last, by our own clock. @type {number | null} */
    this.heardAtMs = null;
    /** @type {{state: string, since: string} | null} */
    this.database = null;
    this.feed = { state: "live", lag_s: 0 };
    /** Whether a worker counts. @type {{state: string, since: string, reason?: string, detail?: string}} */
    this.streams = { state: "up", since: "" };
    this.attempts = 0;
    this.openedAtMs = 0;
    this.subscribed = false;
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#retryNow(); });
    this.open();
  }

  /** What to tell people. @returns {ConnectionState} */
  get state() {
    if (this.heardAtMs === null) return this.database?.state === "away" ? "away" : "connecting";
    if (Date.now() - this.heardAtMs > STALE_AFTER_MS) return "stale";
    if (this.database?.state === "away" || this.feed.state === "away") return "away";
    if (!this.subscribed) return "connecting";
    if (this.streams.state === "away") return "stopped";
    return this.feed.state === "held" ? "held" : "live";
  }

  /** Whether the socket itself is open. */
  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open() {
    const address = new URL("v1/live", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    this.openedAtMs = Date.now();
    socket.onopen = () => this.subscribe();
    socket.onmessage = (event) => { if (this.socket === socket) this.#take(JSON.parse(event.data)); };
    socket.onclose = () => { if (this.socket === socket) this.#lost(); };
  }

  /** Subscribes anew. With `afresh` the last position does not count, for something else is wanted. @param {boolean} [afresh] */
  subscribe(afresh = false) {
    if (afresh) {
      this.position = null;
      this.subscribed = false;
    }
    if (!this.isOpen) return;
    const position = this.position ? { position: this.position } : {};
    this.socket?.send(JSON.stringify({ op: "subscribe", ...this.wish(), ...position }));
  }

  /** @param {any} message */
  #take(message) {
    this.heardAtMs = Date.now();
    if (message.op === "status") this.database = message.database;
    if (message.op === "heartbeat") {
      this.feed = message.feed;
      this.streams = message.streams;
      if (message.feed.state !== "away" && this.database?.state === "away") this.database = null;
    }
    if (message.op === "snapshot" || message.resumed) {
      this.subscribed = true;
      this.attempts = 0;
    }
    // Until the answer to a new wish is there, changes still belong to the old one.
    if (message.op === "change" && !this.subscribed) return;
    if (message.position && this.subscribed) this.position = message.position;
    if (message.op === "error") console.warn("refused:", message.field, message.detail, message.fix);
    this.heard(message);
  }

  #lost() {
    this.socket = null;
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.attempts);
    this.attempts += 1;
    this.timer = setTimeout(() => { if (!this.socket) this.open(); }, ceiling * (0.5 + Math.random() / 2));
  }

  #retryNow() {
    if (this.socket) return;
    clearTimeout(this.timer);
    this.attempts = 0;
    this.open();
  }

  #watch() {
    const since = Math.max(this.heardAtMs ?? 0, this.openedAtMs);
    if (this.socket && Date.now() - since > GIVE_UP_AFTER_MS) {
      const silent = this.socket;
      // A dead link may take minutes to close, so its end is not waited for.
      this.#lost();
      silent.onclose = null;
      silent.close();
    }
  }
}
