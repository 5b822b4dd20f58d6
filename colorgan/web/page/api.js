const KEY = "colorgan-api-key";
const ATTEMPTS = 6;
const LONGEST_WAIT_S = 30;

// An error with a sentence for the user.
export class Failure extends Error {
  get isOfSeveralPages() {
    return this.message.startsWith("Page: several pages");
  }
}

// A client of the API at this origin. `askForKey(words)` is called when the server requires a key,
// and resolves with the key that the user typed.
export class Api {
  #askForKey;
  #asking = null;
  #served = null;

  constructor(askForKey) {
    this.#askForKey = askForKey;
  }

  // The response to a GET request of a path.
  get(path, options) {
    return this.#request(path, options);
  }

  // The models and classes that are served, which are requested only once.
  served() {
    this.#served ??= this.#readServed().catch((error) => {
      this.#served = null;
      throw error;
    });
    return this.#served;
  }

  async classify(file, wish, options) {
    const query = String(queryOf(wish));
    const path = query ? `/classify?${query}` : "/classify";
    return (await this.#request(path, { ...options, file })).json();
  }

  async colorize(file, wish, options) {
    const query = colorizeQuery(wish, { format: "png" });
    if (wish.variant > 1) query.set("variant", wish.variant);
    const fields = fieldsOf(wish);
    const response = await this.#request(`/colorize?${query}`, { ...options, file, fields });
    const objects = response.headers.get("X-Colorgan-Objects");
    return {
      objects: objects === null ? null : JSON.parse(objects),
      blob: await readWhole(response),
      model: response.headers.get("X-Colorgan-Model") ?? wish.model,
      photoClass: response.headers.get("X-Colorgan-Class"),
      note: response.headers.get("X-Colorgan-Note"),
    };
  }

  // Small pictures of the first `count` variants, as blobs.
  async variants(file, wish, { count, side, ...options }) {
    const query = colorizeQuery(wish, { variants: count, side, format: "jpeg" });
    const accept = "multipart/form-data";
    const asked = { ...options, file, fields: fieldsOf(wish), accept };
    const response = await this.#request(`/colorize?${query}`, asked);
    return [...(await readWhole(response, "formData")).values()];
  }

  async #readServed() {
    const { models, router, detector } = await (await this.#request("/models")).json();
    const names = models.map((model) => model.name);
    const classes = router.classes.map((name) => ({ name, served: names.includes(name) }));
    const kinds = ["general", "hypercolumn", "cic"].filter((name) => names.includes(name));
    if (classes.some((each) => each.served)) kinds.unshift("assembled");
    if (detector) kinds.splice(1, 0, "objects");
    const noisy = models.filter((model) => model.noise).map((model) => model.name);
    return { classes, kinds, names, noisy };
  }

  // Send a request, again after a wait if the server is busy, or with a key if it requires one.
  async #request(path, { onWait, ...asked } = {}) {
    const { signal } = asked;
    for (let attempt = 1; ; ) {
      const key = sessionStorage.getItem(KEY);
      const response = await send(path, key, asked);
      if (response.ok) return response;
      if (response.status === 401) {
        await this.#newKey(key);
      } else if (response.status === 503 && attempt < ATTEMPTS) {
        const seconds = secondsToWait(response);
        onWait?.(seconds);
        await sleep(seconds, signal);
        attempt += 1;
      } else {
        throw new Failure(await wordsOf(response));
      }
    }
  }

  // Several requests can be rejected at once, but the user is asked only once.
  async #newKey(refused) {
    if (sessionStorage.getItem(KEY) !== refused) return;
    this.#asking ??= this.#askForKey(
      refused === null ? "This server requires an API key." : "The server rejected that key.",
    ).then((key) => {
      sessionStorage.setItem(KEY, key);
      this.#asking = null;
    });
    await this.#asking;
  }
}

// Of what the router looks at, too: the page of a file, and how an old print is mended.
function queryOf({ page, restore }, choices = {}) {
  const query = new URLSearchParams(choices);
  if (page) query.set("page", page);
  if (restore !== "off") query.set("restore", restore);
  return query;
}

function colorizeQuery(wish, further) {
  const { model, photoClass, vividness } = wish;
  return queryOf(wish, { model, class: photoClass, vividness, ...further });
}

function fieldsOf({ hints }) {
  return hints ? { hints } : {};
}

async function send(path, key, { file, fields, signal, accept }) {
  const headers = key === null ? {} : { "X-API-Key": asBytes(key) };
  if (accept) headers.Accept = accept;
  try {
    if (!file) return await fetch(path, { headers, signal });
    const body = new FormData();
    for (const [name, value] of Object.entries(fields ?? {})) body.append(name, value);
    body.append("file", file, file.name);
    return await fetch(path, { method: "POST", headers, body, signal });
  } catch (error) {
    throw signal?.aborted ? error : unreachable(file);
  }
}

// Encode text as UTF-8, with one character per byte, as header values require.
function asBytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

async function readWhole(response, as = "blob") {
  try {
    return await response[as]();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure("The connection broke off.");
  }
}

// A server may close the connection before a large file is sent; browsers report no reason.
function unreachable(file) {
  const large = file && file.size > 5e6;
  const size = large ? `, or the file (${Math.round(file.size / 1e6)} MB) is too large for it` : "";
  return new Failure(`The server can’t be reached${size}.`);
}

function secondsToWait(response) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), LONGEST_WAIT_S) : 1;
}

async function wordsOf(response) {
  const problem = await response.json().catch(() => ({}));
  if (problem.detail) return sentence(problem.detail);
  if (response.status === 413) return "The file is too large for the server.";
  return `The server answered ${response.status}.`;
}

function sentence(words) {
  const capital = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal?.addEventListener("abort", stop, { once: true });
  });
}
