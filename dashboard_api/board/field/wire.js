/**
 * By what do updates go to the centre: a request each, or a socket, on which they bring no headers?
 *
 * While the page is open it keeps a socket. Where none is open, an update is posted, and a socket is tried for the next
 * one. Whatever was not answered is sent again with the same ids, by either, so that it counts once.
 */

/** A message or a request that takes longer has been lost on the way. */
const ANSWER_WAIT_MS = 30_000;
/** A socket that does not open is not tried again for so long. */
const RETRY_AFTER_MS = 20_000;
const PROTOCOL = "ioc.commands.v1";

/** What became of a message. @typedef {{status: number, told: any}} Told */
/** Sends commands as JSON. Raises when it is not known what became of them. @typedef {(text: string) => Promise<Told>} Wire */

/** By a request. @type {Wire} */
export async function post(text) {
  const answer = await fetch(new URL("../v1/commands", import.meta.url), {
    method: "POST",
    headers: { "Content-Type": "application/json", "IOC-Request": "1" },
    body: text,
    credentials: "same-origin",
    signal: AbortSignal.timeout(ANSWER_WAIT_MS),
  });
  return { status: answer.status, told: await answer.json() };
}

export class CommandSocket {
  constructor() {
    /** @type {WebSocket | null} */
    this.socket = null;
    /** The message that waits for its answer. @type {{resolve: (told: Told) => void, reject: (error: Error) => void} | null} */
    this.waiting = null;
    this.triedAtMs = -Infinity;
    /** For whom it was opened: it speaks for whoever was signed in then. @type {string | null} */
    this.person = null;
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Opens one for whoever is signed in now, unless there is one. @param {string} person */
  open(person) {
    if (this.person !== person) this.close();
    if (this.socket || Date.now() - this.triedAtMs < RETRY_AFTER_MS) return;
    this.triedAtMs = Date.now();
    this.person = person;
    const address = new URL("../v1/commands", import.meta.url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, PROTOCOL);
    this.socket = socket;
    socket.onmessage = (event) => {
      const told = JSON.parse(event.data);
      this.#answered((waiting) => waiting.resolve({ status: told.status, told }));
    };
    socket.onclose = () => this.close();
  }

  /** Ends it. What was not answered has to be sent again. */
  close() {
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#answered((waiting) => waiting.reject(new Error("the socket has closed")));
  }

  /** By the socket where it is open, else by a request. @param {string} person @returns {Wire} */
  wire(person) {
    return (text) => {
      this.open(person);
      return this.isOpen ? this.#send(text) : post(text);
    };
  }

  /** One message at a time, as the outbox sends. @type {Wire} */
  #send(text) {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      // A dead socket may take minutes to close, and then the next update goes by a request.
      this.timer = setTimeout(() => this.close(), ANSWER_WAIT_MS);
      this.socket?.send(text);
    });
  }

  /** @param {(waiting: {resolve: (told: Told) => void, reject: (error: Error) => void}) => void} tell */
  #answered(tell) {
    clearTimeout(this.timer);
    const waiting = this.waiting;
    this.waiting = null;
    if (waiting) tell(waiting);
  }
}
