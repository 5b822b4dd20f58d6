import { Api } from "/shared/api.js";
import { askForKey } from "/shared/key.js";
import { isNarrow, layout, NARROW, plot, upright } from "./plots.js";
import { cell, duration, number, setting } from "./text.js";

const BASE = location.pathname.replace(/\/+$/, "");
const POLL_MS = 3000;
const COLORS = [
  "#9a3f1c", "#2b6c8f", "#6d8b2f", "#8a4f9e", "#c58a1a", "#3d8f78", "#b0486b", "#5b5fb0", "#7a6a55",
  "#d0603a",
];
const NAMES = {
  val_l1: "L1 in ab, validation",
  val_psnr: "PSNR in dB, validation",
  semantic: "semantic score, validation",
  frechet: "Fréchet distance, validation",
  hue_frechet: "hue-invariant Fréchet distance, validation",
  colorfulness: "colourfulness ratio, validation",
  loss_l1: "loss L1, training",
  loss_gan: "loss GAN, training",
  loss_d: "loss of the discriminator, training",
};
const EVALUATED = ["semantic", "frechet", "hue_frechet", "colorfulness"];

const api = new Api(askForKey);
const pictures = new Map(); // blob URLs by path, so that each picture is fetched once
const hidden = new Map(); // by hyper-parameter, the values that the user has hidden
let sweep = null;
let photograph = null;
let follows = true; // show the newest epoch, until the user moves the slider

byId("metric").addEventListener("change", drawCurves);
byId("axis").addEventListener("change", drawCurves);
byId("epoch").addEventListener("input", () => {
  follows = Number(byId("epoch").value) === Number(byId("epoch").max);
  showEpoch();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => sweep && draw());
matchMedia(NARROW).addEventListener("change", () => sweep && draw());
follow();

function byId(id) {
  return document.getElementById(id);
}

// Poll the sweep while it runs and the page is visible.
async function follow() {
  let seen = "";
  for (;;) {
    if (!document.hidden) {
      try {
        const words = await (await api.get(`${BASE}/data`)).text();
        byId("trouble").hidden = true;
        const news = JSON.parse(words, (key, value) => (key === "silent" ? Math.round(value) : value));
        const shown = JSON.stringify({ ...news, trials: news.trials.map(({ silent, ...rest }) => rest) });
        sweep = news;
        if (shown !== seen) draw();
        else showState();
        seen = shown;
      } catch (error) {
        byId("trouble").textContent = error.message;
        byId("trouble").hidden = false;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function draw() {
  document.title = `colorgan: ${sweep.name}`;
  byId("content").hidden = false;
  byId("title").textContent = sweep.name;
  byId("about").textContent =
    `${sweep.model} on ${sweep.dataset}, started ${new Date(sweep.created).toLocaleString()}, ` +
    `evaluated every ${sweep.eval_every} epoch${sweep.eval_every > 1 ? "s" : ""}. ${scheduling()}`;
  showState();
  offerFilters();
  showTrials();
  showLineage();
  offerPhotographs();
  showPictures();
  offerMetrics();
  drawCurves();
  drawFrontier();
  drawParallel();
  showTiming();
}

// The sweep's scheduler and its metric, in a sentence.
function scheduling() {
  const by = NAMES[sweep.metric];
  const every = sweep.eval_every > 1 ? `${sweep.eval_every} epochs` : "epoch";
  return {
    none: "There is no scheduler: every trial trains to its end.",
    asha: `The scheduler asha stops the weaker trials, by ${by}.`,
    pbt: `The scheduler pbt lets the trials wait for each other after every ${every}; then the weakest go on ` +
      `from the strongest, by ${by}, with changed values.`,
  }[sweep.scheduler] ?? "";
}

function showState() {
  const counts = new Map();
  for (const { status } of sweep.trials) counts.set(status, (counts.get(status) ?? 0) + 1);
  const words = [...counts].map(([status, count]) => `${count} ${status}`);
  const left = Math.max(...sweep.trials.map(({ eta }) => eta ?? 0));
  if (left > 0) words.push(`the running ones take about ${duration(left)} more`);
  const silent = sweep.trials.filter((trial) => trial.silent > 0);
  for (const trial of silent) {
    words.push(`trial ${trial.name} was last heard of ${duration(trial.silent)} ago`);
  }
  const sentences = [`${sweep.trials.length} trials: ${words.join(", ")}.`];
  if (counts.has("interrupted")) {
    sentences.push(`No job works on this sweep: the same command with --sweep ${sweep.name} continues it.`);
  }
  if (sweep.best) {
    const { trial, epoch, metric, value } = sweep.best;
    sentences.push(`The best by ${NAMES[metric]} is trial ${trial} after epoch ${epoch}: ${setting(value)}.`);
  }
  byId("state").textContent = sentences.join(" ");
}

function shownTrials() {
  return sweep.trials.filter((trial) =>
    sweep.varied.every((name) => !hidden.get(name)?.has(trial.values[name])),
  );
}

function colorOf(trial) {
  return COLORS[sweep.trials.indexOf(trial) % COLORS.length];
}

// A trial by what it began with; on a narrow screen by its number, which the table explains.
function shortLabel(trial) {
  return isNarrow() ? `trial ${trial.name}` : label(trial);
}

function label(trial) {
  return sweep.varied.map((name) => `${name} ${setting(trial.values[name])}`).join(", ");
}

// One checkbox per value, for hyper-parameters with 2 to 10 values.
function offerFilters() {
  if (byId("filters").childElementCount) return;
  for (const name of sweep.varied) {
    const values = [...new Set(sweep.trials.map((trial) => trial.values[name]))];
    if (values.length < 2 || values.length > 10) continue;
    const group = document.createElement("fieldset");
    const legend = document.createElement("legend");
    legend.textContent = name;
    group.append(legend);
    hidden.set(name, new Set());
    for (const value of values) {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        if (box.checked) hidden.get(name).delete(value);
        else hidden.get(name).add(value);
        draw();
      });
      const line = document.createElement("label");
      line.append(box, ` ${setting(value)}`);
      group.append(line);
    }
    byId("filters").append(group);
  }
}

function showTrials() {
  const headings = ["trial", "status", ...sweep.varied, "epoch", "time", "ETA", "L1", "PSNR", "semantic",
    "Fréchet", "of hues", "colourfulness", ""];
  fill("trials", headings, shownTrials().map((trial) => {
    const last = trial.evaluations.at(-1);
    const spent = trial.records.reduce((sum, record) => sum + record.seconds, 0);
    const row = document.createElement("tr");
    const isBest = sweep.best?.trial === trial.name;
    row.className = isBest ? `${trial.status} best` : trial.status;
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colorOf(trial);
    const name = cell(swatch, "th");
    name.scope = "row";
    name.append(trial.name, " ");
    if (isBest) name.append(badge(`best, epoch ${sweep.best.epoch}`));
    const remarks = cell([trial.error, trial.reason].filter(Boolean).join("; "));
    remarks.className = "error";
    const words = [trial.status, ...sweep.varied.map((each) => change(trial, each)),
      `${trial.epoch} of ${trial.epochs}`, spent ? duration(spent) : "", duration(trial.eta),
      number(last?.val_l1, 2), number(last?.val_psnr, 1), number(last?.semantic, 3),
      number(last?.frechet, 1), number(last?.hue_frechet, 1), number(last?.colorfulness, 2)];
    row.append(name, ...words.map((each) => cell(each)), remarks);
    return row;
  }));
}

function badge(words) {
  const made = document.createElement("span");
  made.className = "badge";
  made.textContent = words;
  return made;
}

// The value that a trial began with, and the one that a scheduler has changed it to.
function change(trial, name) {
  const [before, after] = [setting(trial.values[name]), setting(trial.now[name])];
  return before === after ? before : `${before} → ${after}`;
}

// What each trial of a population took over from others, in order.
function showLineage() {
  const taking = shownTrials().filter((trial) => trial.takeovers.length);
  byId("lineage").hidden = !taking.length;
  byId("lineage-list").replaceChildren(...taking.flatMap((trial) => {
    const term = document.createElement("dt");
    term.textContent = `Trial ${trial.name}, which began as ${label(trial)}`;
    return [term, ...trial.takeovers.map((each) => {
      const line = document.createElement("dd");
      line.textContent = takeover(trial, each);
      return line;
    })];
  }));
}

function takeover(trial, { epoch, donor, before, values, own, donors }) {
  const scores = own === null || donors === null ? "" : ` (${setting(donors)}, its own was ${setting(own)})`;
  const changed = sweep.varied
    .filter((name) => name in values && values[name] !== before[name])
    .map((name) => `${name} ${setting(before[name])} → ${setting(values[name])}`);
  const so = changed.length ? `: ${changed.join(", ")}` : "";
  return `after epoch ${epoch} from the networks of trial ${donor}${scores}${so}`;
}

function fill(id, headings, rows) {
  const table = byId(id);
  const head = document.createElement("tr");
  head.append(...headings.map((words) => cell(words, "th")));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...rows);
}

// An image from a path that may need the API key; each path is fetched once.
function image(path, words) {
  const made = document.createElement("img");
  made.alt = words;
  if (!pictures.has(path)) {
    const fetched = api.get(path).then((response) => response.blob());
    pictures.set(path, fetched.then((blob) => URL.createObjectURL(blob)));
  }
  pictures.get(path).then(
    (url) => {
      made.src = url;
    },
    () => pictures.delete(path),
  );
  return made;
}

function offerPhotographs() {
  if (photograph) return;
  const buttons = sweep.photographs.map((photo, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.dataset.photo = photo;
    button.append(image(`${BASE}/photographs/${photo}/gray`, `Photograph ${place + 1}`));
    button.addEventListener("click", () => choose(photo));
    return button;
  });
  byId("photographs").replaceChildren(...buttons);
  [photograph] = sweep.photographs;
}

function choose(photo) {
  photograph = photo;
  showPictures();
}

function evaluatedEpochs() {
  const all = sweep.trials.flatMap((trial) => trial.evaluations.map(({ epoch }) => epoch));
  return [...new Set(all)].sort((one, other) => one - other);
}

function has(trial, epoch) {
  return trial.evaluations.some((each) => each.epoch === epoch);
}

function showPictures() {
  for (const button of byId("photographs").children) {
    button.setAttribute("aria-checked", String(button.dataset.photo === photograph));
  }
  const epochs = evaluatedEpochs();
  const slider = byId("epoch");
  slider.max = String(Math.max(0, epochs.length - 1));
  if (follows) slider.value = slider.max;
  slider.disabled = epochs.length < 2;
  const rows = shownTrials().map((trial) => {
    const row = document.createElement("tr");
    const heading = cell(label(trial), "th");
    heading.scope = "row";
    row.append(heading, ...epochs.map((epoch) => cell(colored(trial, epoch))));
    return row;
  });
  fill("grid", ["", ...epochs.map((epoch) => `epoch ${epoch}`)], rows);
  showEpoch();
}

// A trial's colouring after an epoch, or a gap if the trial has not reached it.
function colored(trial, epoch) {
  if (has(trial, epoch)) {
    const words = `trial ${trial.name}, epoch ${epoch}`;
    return image(`${BASE}/trials/${trial.name}/${epoch}/${photograph}`, words);
  }
  const gap = document.createElement("span");
  gap.className = "none";
  return gap;
}

// Show large pictures of one epoch, between the gray photograph and the original.
function showEpoch() {
  const epochs = evaluatedEpochs();
  const epoch = epochs[Number(byId("epoch").value)];
  byId("epoch-number").textContent = epoch ?? "–";
  const figures = [[image(`${BASE}/photographs/${photograph}/gray`, "gray"), "gray"]];
  if (epoch) for (const trial of shownTrials()) figures.push([colored(trial, epoch), label(trial)]);
  figures.push([image(`${BASE}/photographs/${photograph}/original`, "original"), "original"]);
  byId("large").replaceChildren(...figures.map(([picture, words]) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = words;
    figure.append(picture, caption);
    return figure;
  }));
  const place = epochs.indexOf(epoch) + 1;
  for (const row of byId("grid").rows) {
    [...row.cells].forEach((each, at) => each.classList.toggle("chosen", at > 0 && at === place));
  }
}

function offerMetrics() {
  const select = byId("metric");
  const known = Object.keys(NAMES).filter((name) => sweep.trials.some((trial) => points(trial, name).length));
  if (select.options.length === known.length) return;
  const chosen = select.value;
  select.replaceChildren(...known.map((name) => new Option(NAMES[name], name)));
  if (known.includes(chosen)) select.value = chosen;
}

// A trial's [epoch, seconds so far, value] points of a metric.
function points(trial, metric) {
  if (EVALUATED.includes(metric)) {
    return trial.evaluations
      .filter((each) => each[metric] !== null)
      .map((each) => [each.epoch, each.seconds, each[metric]]);
  }
  let seconds = 0;
  return trial.records.map((record) => {
    seconds += record.seconds;
    return [record.epoch, seconds, record[metric]];
  });
}

function drawCurves() {
  const metric = byId("metric").value;
  if (!metric) return;
  const over = byId("axis").value === "epoch" ? 0 : 1;
  const traces = shownTrials().map((trial) => {
    const all = points(trial, metric);
    const taken = new Map(trial.takeovers.map((each) => [each.epoch, takeover(trial, each)]));
    return {
      x: all.map((point) => point[over]),
      y: all.map((point) => point[2]),
      text: all.map(([epoch]) => (taken.has(epoch) ? `<br>${taken.get(epoch)}` : "")),
      hovertemplate: `trial ${trial.name}: %{y:.4g}%{text}<extra></extra>`,
      name: shortLabel(trial),
      mode: "lines+markers",
      line: { color: colorOf(trial) },
      marker: {
        size: all.map(([epoch]) => (taken.has(epoch) ? 11 : 5)),
        symbol: all.map(([epoch]) => (taken.has(epoch) ? "x" : "circle")),
      },
    };
  });
  const unit = over ? "seconds of training" : "epoch";
  // Beside a narrow plot, the title would take the width of the curves; the choice above names it.
  const up = isNarrow() ? "" : NAMES[metric];
  const shape = { xaxis: { title: { text: unit } }, yaxis: { title: { text: up } } };
  plot("curves", traces, layout({ ...shape, rest: { showlegend: true } }));
}

// Colourfulness trades off against distance (Blau and Michaeli 2018): lower and further right is better.
function drawFrontier() {
  const metric = ["frechet", "val_l1"].find((name) =>
    sweep.trials.some(({ evaluations }) => evaluations.some((each) => each[name] !== null)),
  );
  const traces = shownTrials().map((trial) => {
    const known = trial.evaluations.filter((each) => each[metric] !== null && each.colorfulness !== null);
    return {
      x: known.map((each) => each.colorfulness),
      y: known.map((each) => each[metric]),
      text: known.map((each) => `trial ${trial.name}, epoch ${each.epoch}`),
      hovertemplate: "%{text}: %{x:.2f}, %{y:.3g}<extra></extra>",
      name: shortLabel(trial),
      mode: "lines+markers",
      line: { color: colorOf(trial), width: 1 },
      marker: { size: known.map((_, at) => (at === known.length - 1 ? 11 : 5)) },
    };
  });
  const shape = { xaxis: { title: { text: NAMES.colorfulness } }, yaxis: { title: { text: NAMES[metric] } } };
  plot("frontier", traces, layout({ ...shape, rest: { showlegend: false, hovermode: "closest" } }));
}

// Plotly's parallel coordinates need WebGL and eval, so this draws lines over vertical axes.
function drawParallel() {
  const trials = shownTrials().filter((trial) => trial.evaluations.length);
  const axes = sweep.varied.map((name) =>
    upright(name, trials.map((trial) => trial.now[name]), setting, true),
  );
  for (const name of Object.keys(sweep.metrics)) {
    const values = trials.map((trial) => trial.evaluations.at(-1)[name]);
    if (values.length && values.every((value) => value !== null)) {
      axes.push(upright(NAMES[name].split(",")[0], values, (value) => String(Number(value.toPrecision(3)))));
    }
  }
  const traces = trials.map((trial, place) => ({
    x: axes.map((_, at) => at),
    y: axes.map((axis) => axis.heights[place]),
    text: axes.map((axis) => `${axis.name} ${axis.words[place]}`),
    hovertemplate: "%{text}<extra></extra>",
    name: `trial ${trial.name}`,
    mode: "lines+markers",
    line: { color: colorOf(trial) },
    marker: { size: 7 },
  }));
  const annotations = axes.flatMap((axis, at) =>
    axis.ticks.map(([height, words]) => ({
      x: at, y: height, text: words, showarrow: false, xanchor: "right", xshift: -8, font: { size: 11 },
      bgcolor: getComputedStyle(document.body).backgroundColor,
    })),
  );
  const shapes = axes.map((_, at) => ({
    type: "line", x0: at, x1: at, y0: 0, y1: 1, layer: "below", line: { width: 1, color: "#8d8577" },
  }));
  plot("parallel", traces, layout({
    xaxis: {
      tickvals: axes.map((_, at) => at),
      ticktext: axes.map((axis) => axis.name),
      range: [-0.4, axes.length - 0.7],
      showgrid: false,
      zeroline: false,
      side: "top",
    },
    yaxis: { visible: false, range: [-0.06, 1.06] },
    rest: { annotations, shapes, hovermode: "closest", showlegend: false, margin: { l: 30, r: 30, t: 50, b: 20 } },
  }));
}

function showTiming() {
  const share = (value) => (value === null ? "" : `${Math.round(value * 100)} %`);
  const headings = ["image size", "batch size", "an epoch", "of the smallest batch", "the report's",
    "of the largest size", "the report's"];
  fill("timing", headings, sweep.timing.map((line) => {
    const row = document.createElement("tr");
    const words = [`${line.size} px`, String(line.batch_size), duration(line.seconds),
      share(line.share_of_smallest_batch), share(line.report_share_of_smallest_batch),
      share(line.share_of_largest_size), share(line.report_share_of_largest_size)];
    row.append(...words.map((each) => cell(each)));
    return row;
  }));
}
