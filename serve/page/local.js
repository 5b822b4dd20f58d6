import { Failure } from "/shared/api.js";

const ABSENT =
  "This server has no models for browsers. Whoever runs it can make them with “colorgan export " +
  "assembled --format web -o DIR”, and name them with “python -m serve --browser-models DIR”.";

// Whether the page's address asks for the models in this browser, by ?local=1.
export function isLocal() {
  return new URLSearchParams(location.search).has("local");
}

// The models in this browser, which no photograph leaves; the functions are those of service.js.
export function openLocal() {
  document.getElementById("promise").textContent = "Photographs do not leave this browser.";
  const way = document.getElementById("other-way"); // it is there if the server has the models
  if (way) Object.assign(way, { href: "/", textContent: "Let the server colour them instead" });
  for (const part of [".hints-toggle", ".restoring"]) {
    hide(document.getElementById("card-template").content.querySelector(part));
  }
  return new Local();
}

class Local {
  #opening = null;

  async served() {
    return (await this.#opened()).served();
  }

  async classify(...request) {
    return (await this.#opened()).classify(...request);
  }

  async colorize(...request) {
    return (await this.#opened()).colorize(...request);
  }

  #opened() {
    this.#opening ??= import("/local/models.js").then(
      ({ LocalModels }) => new LocalModels({ Failure, onProgress: showProgress }),
      () => {
        throw new Failure(ABSENT);
      },
    );
    return this.#opening;
  }
}

function showProgress(loaded, total) {
  const [part, whole] = [loaded, total].map((bytes) => Math.round(bytes / 1e6));
  document.getElementById("served").textContent = `Loading the models: ${part} of ${whole} MB.`;
}

// The models in a browser take no colours of points and mend no prints, so cards must never offer
// these.
function hide(part) {
  const hidden = document.createElement("div");
  hidden.hidden = true;
  part.replaceWith(hidden);
  hidden.append(part);
}
