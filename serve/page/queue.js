// Runs jobs in order, at most `atOnce` at the same time.
export class Queue {
  #free;
  #waiting = [];

  constructor(atOnce) {
    this.#free = atOnce;
  }

  // Resolves with the job's result. With `first`, the job precedes all waiting ones: a user who has
  run(job, { first = false } = {}) {
    return new Promise((resolve, reject) => {
      const start = async () => {
        try {
          resolve(await job());
        } catch (error) {
          reject(error);
        }
        this.#free += 1;
        this.#next();
      };
      if (first) this.#waiting.unshift(start);
      else this.#waiting.push(start);
      this.#next();
    });
  }

  #next() {
    if (!this.#free || !this.#waiting.length) return;
    this.#free -= 1;
    this.#waiting.shift()();
  }
}
