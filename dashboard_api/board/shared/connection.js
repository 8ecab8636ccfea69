/**
 * Is the board in touch with the server, and since when not?
 *
 * One connection at a time: a WebSocket, or where none gets through a stream of events, or where that does not either, polls.
 * All bring the same messages. After a loss it comes back with the last position, later and later and never at the same
 * moment as all the others.
 */

/** Without a word for so long the figures count as stale. Heartbeats come every 2 s. */
export const STALE_AFTER_MS = 4000;
/** A socket that says nothing for so long is given up. */
const GIVE_UP_AFTER_MS = 10000;
const RETRY_MIN_MS = 300;
const RETRY_MAX_MS = 10000;

/** After so many sockets that brought nothing the other ways are tried, one after the other, and then sockets again. */
const SOCKETS_TRIED = 2;
/** The same where one has worked before: then rather the centre or the link is away. */
const SOCKETS_TRIED_AGAIN = 6;
/** How long a poll waits for news, in seconds: no longer than heartbeats are apart. */
const POLL_WAIT_S = 2;
/** How soon a board without a socket looks whether one gets through by now. */
const PROBE_EVERY_MS = 30_000;

/** @typedef {"socket" | "events" | "poll"} Way */
/** @typedef {"connecting" | "live" | "held" | "stale" | "away" | "stopped"} ConnectionState  `stopped`: nobody counts */
/** What is open: `close` ends it for good, and nothing of it is heard any more. @typedef {{close: () => void, isOpen: () => boolean}} Line */

export class Connection {
  /**
   * @param {() => object} wish what to subscribe to
   * @param {(message: any) => void} heard
   */
  constructor(wish, heard) {
    this.wish = wish;
    this.heard = heard;
    /** @type {Line | null} */
    this.line = null;
    /** The open socket, where that is the way. @type {WebSocket | null} */
    this.socket = null;
    /** How many lines in a row have brought nothing. */
    this.failed = 0;
    this.socketWorked = false;
    /** Whether this line has brought anything. */
    this.isProven = false;
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
    setInterval(() => this.#probe(), PROBE_EVERY_MS);
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#retryNow(); });
    this.open();
  }

  /** By what the messages come. @returns {Way} */
  get way() {
    const sockets = this.socketWorked ? SOCKETS_TRIED_AGAIN : SOCKETS_TRIED;
    const turn = this.failed % (sockets + 2);
    return turn < sockets ? "socket" : turn === sockets ? "events" : "poll";
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

  /** Whether something is open that messages come by. */
  get isOpen() {
    return this.line?.isOpen() ?? false;
  }

  open() {
    this.openedAtMs = Date.now();
    this.isProven = false;
    this.line = this.way === "socket" ? this.#openSocket() : this.way === "events" ? this.#openEvents() : this.#openPolls();
  }

  /** Subscribes anew. With `afresh` the last position does not count, for something else is wanted. @param {boolean} [afresh] */
  subscribe(afresh = false) {
    if (afresh) {
      this.position = null;
      this.subscribed = false;
    }
    if (this.socket) {
      if (this.isOpen) this.socket.send(JSON.stringify({ op: "subscribe", ...this.#asked() }));
    } else if (this.line) {
      // What is wanted stands in the address, so it takes another one.
      this.line.close();
      this.open();
    }
  }

  #asked() {
    return { ...this.wish(), ...(this.position ? { position: this.position } : {}) };
  }

  /** @param {WebSocket} [opened] @returns {Line} */
  #openSocket(opened) {
    const socket = opened ?? new WebSocket(addressOf("v1/live", "ws"));
    this.socket = socket;
    socket.onopen = () => this.subscribe();
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = () => this.#lost();
    return {
      isOpen: () => socket.readyState === WebSocket.OPEN,
      close: () => {
        socket.onopen = socket.onmessage = socket.onclose = null;
        this.socket = null;
        socket.close();
      },
    };
  }

  /** @returns {Line} */
  #openEvents() {
    const source = new EventSource(addressOf("v1/live/events", "http", { subscription: JSON.stringify(this.#asked()) }));
    source.onmessage = (event) => this.#take(JSON.parse(event.data));
    // By itself it would come back to the same address for ever, also where nothing is to be had by it.
    source.onerror = () => this.#lost();
    return {
      isOpen: () => source.readyState === EventSource.OPEN,
      close: () => {
        source.onmessage = source.onerror = null;
        source.close();
      },
    };
  }

  /** @returns {Line} */
  #openPolls() {
    const stop = new AbortController();
    const subscription = JSON.stringify(this.wish());
    /** @type {string | null} */
    let session = null;
    const poll = async () => {
      while (!stop.signal.aborted) {
        const known = { ...(session ? { session } : {}), ...(this.position ? { position: this.position } : {}) };
        const address = addressOf("v1/live/poll", "http", { subscription, wait: String(POLL_WAIT_S), ...known });
        const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(GIVE_UP_AFTER_MS)]);
        const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", signal });
        if (!answer.ok) {
          // On a socket a refusal is a message, so it is one here.
          const problem = await answer.json().catch(() => ({}));
          if (problem.reason && !stop.signal.aborted) this.heard({ op: "error", ...problem });
          throw new Error(`${answer.status}`);
        }
        const told = await answer.json();
        if (stop.signal.aborted) return;
        session = told.session;
        for (const message of told.messages) {
          this.#take(message);
          // What hears a message may want something else, and then this line is over.
          if (stop.signal.aborted) return;
        }
      }
    };
    poll().catch(() => { if (!stop.signal.aborted) this.#lost(); });
    return { isOpen: () => this.isProven, close: () => stop.abort() };
  }

  /** @param {any} message */
  #take(message) {
    if (message.op === "close") return this.#lost();
    this.heardAtMs = Date.now();
    this.isProven = true;
    if (this.socket) {
      this.socketWorked = true;
      this.failed = 0;
    }
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
    this.line?.close();
    this.line = null;
    if (!this.isProven) this.failed += 1;
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.attempts);
    this.attempts += 1;
    this.timer = setTimeout(() => { if (!this.line) this.open(); }, ceiling * (0.5 + Math.random() / 2));
  }

  #retryNow() {
    if (this.line) return;
    clearTimeout(this.timer);
    this.attempts = 0;
    this.open();
  }

  #watch() {
    const since = Math.max(this.heardAtMs ?? 0, this.openedAtMs);
    // A dead link may take minutes to close, so its end is not waited for.
    if (this.line && Date.now() - since > GIVE_UP_AFTER_MS) this.#lost();
  }

  /** Whether a socket gets through by now: then it takes over, from the position that was reached. */
  #probe() {
    if (this.way === "socket" || !this.line || document.hidden) return;
    const socket = new WebSocket(addressOf("v1/live", "ws"));
    socket.onopen = () => {
      if (this.way === "socket" || !this.line) return socket.close();
      this.line.close();
      this.failed = 0;
      this.openedAtMs = Date.now();
      this.isProven = false;
      this.line = this.#openSocket(socket);
      this.subscribe();
    };
  }
}

/** @param {string} path @param {"ws" | "http"} scheme @param {Record<string, string>} [query] */
function addressOf(path, scheme, query = {}) {
  const address = new URL(path, document.baseURI);
  address.protocol = scheme + (address.protocol === "https:" ? "s:" : ":");
  address.search = new URLSearchParams(query).toString();
  return address;
}
