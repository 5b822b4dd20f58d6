import { Api } from "/shared/api.js";
import { askForKey } from "/shared/key.js";
import { cell } from "./text.js";

const byId = (id) => document.getElementById(id);

try {
  const sweeps = await (await new Api(askForKey).get("/sweeps-data")).json();
  sweeps.sort((one, other) => (one.created < other.created ? 1 : -1));
  byId("none").hidden = sweeps.length > 0;
  byId("sweeps").hidden = sweeps.length === 0;
  byId("sweeps").tBodies[0].replaceChildren(...sweeps.map(line));
} catch (error) {
  byId("trouble").textContent = error.message;
  byId("trouble").hidden = false;
}

function line(sweep) {
  const row = document.createElement("tr");
  const link = document.createElement("a");
  link.href = `/sweeps/${sweep.name}`;
  link.textContent = sweep.name;
  const trials = Object.entries(sweep.trials).map(([status, count]) => `${count} ${status}`);
  const started = new Date(sweep.created).toLocaleString();
  row.append(
    cell(link),
    ...[sweep.model, sweep.dataset, started, trials.join(", ")].map((words) => cell(words)),
  );
  return row;
}
