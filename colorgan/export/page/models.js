import { Unable } from "./unable.js";

const AUTO = "auto";

// The models of this folder, run in this browser: photographs never leave it. The methods are those
// of the service's client (serve/page/service.js), so that its page can use either.
export class LocalModels {
  #Failure;
  #onProgress;
  #worker;
  #calls = new Map();
  #made = 0;
  #loading = null;
  #routes = new WeakMap();

  // `Failure` is the class of the errors that have a sentence for the user; `onProgress(loaded, total)`
  // is called with bytes while the models are loaded.
  constructor({ Failure = Unable, onProgress = () => {} } = {}) {
    this.#Failure = Failure;
    this.#onProgress = onProgress;
  }

  // What is served, once it is loaded; nothing is asked of the network afterwards.
  async served() {
    this.#loading ??= this.#load().catch((error) => {
      this.#loading = null;
      throw error;
    });
    const { router, generators } = await this.#loading;
    const names = Object.keys(generators);
    const classes = router.classes.map((name) => ({ name, served: names.includes(name) }));
    return { classes, kinds: ["assembled"], names };
  }

  async classify(file, _, options) {
    if (!this.#routes.has(file)) {
      this.#routes.set(file, await this.#ask("classify", [file], options));
    }
    return this.#routes.get(file);
  }

  async colorize(file, { photoClass = AUTO, vividness = 1, hints, format = "png" }, options) {
    if (hints) throw new this.#Failure("The models in this browser take no colours of points.");
    const { class: own } = photoClass === AUTO ? await this.classify(file, {}, options) : {};
    const wish = { photoClass: own ?? photoClass, vividness: Number(vividness), format };
    return this.#ask("colorize", [file, wish], options);
  }

  async #load() {
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => this.#hear(data));
    this.#worker.addEventListener("error", () => this.#fail("The models can’t run in this browser."));
    return this.#call("load", []);
  }

  async #ask(task, values, { signal } = {}) {
    await this.served();
    signal?.throwIfAborted();
    const value = await this.#call(task, values);
    signal?.throwIfAborted();
    return value;
  }

  #call(task, values) {
    const call = (this.#made += 1);
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject });
      this.#worker.postMessage({ call, task, values });
    });
  }

  #hear({ call, value, failure, loaded, total }) {
    if (total) {
      this.#onProgress(loaded, total);
      return;
    }
    const { resolve, reject } = this.#calls.get(call);
    this.#calls.delete(call);
    if (failure) reject(new this.#Failure(failure));
    else resolve(value);
  }

  #fail(words) {
    for (const { reject } of this.#calls.values()) reject(new this.#Failure(words));
    this.#calls.clear();
  }
}
