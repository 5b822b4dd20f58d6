const KEPT = 12;

// The colourings of a photograph, each requested once. Every vividness and every point of a colour
// makes another one, so memory holds the last few, and those that `shown(url)` says are shown.
export class Colorings {
  #colorize;
  #shown;
  #colorings = new Map();

  // `colorize(wish, options)` is that of the service, for the photograph.
  constructor(colorize, shown) {
    this.#colorize = colorize;
    this.#shown = shown;
  }

  // The service's answer, with a URL of its picture.
  async get(wish, options) {
    const key = JSON.stringify(wish);
    let coloring = this.#colorings.get(key);
    if (!coloring) {
      const answer = await this.#colorize(wish, options);
      options.signal.throwIfAborted();
      coloring = { ...answer, url: URL.createObjectURL(answer.blob) };
    }
    this.#colorings.delete(key); // the last one used comes last
    this.#colorings.set(key, coloring);
    this.#forget();
    return coloring;
  }

  // The coloring of a wish, if memory holds it.
  peek(wish) {
    return this.#colorings.get(JSON.stringify(wish));
  }

  clear() {
    for (const { url } of this.#colorings.values()) URL.revokeObjectURL(url);
    this.#colorings.clear();
  }

  #forget() {
    for (const [key, { url }] of [...this.#colorings].slice(0, -KEPT)) {
      if (this.#shown(url)) continue;
      URL.revokeObjectURL(url);
      this.#colorings.delete(key);
    }
  }
}
