import { Api } from "/shared/api.js";
import { askForKey } from "/shared/key.js";
import { cell, duration, number, setting } from "./text.js";

const BASE = location.pathname.replace(/\/+$/, "");
const POLL_MS = 3000;
const SILENT_S = 120;
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
    `evaluated every ${sweep.eval_every} epoch${sweep.eval_every > 1 ? "s" : ""}`;
  showState();
  offerFilters();
  showTrials();
  offerPhotographs();
  showPictures();
  offerMetrics();
  drawCurves();
  drawFrontier();
  drawParallel();
  showTiming();
}

function showState() {
  const counts = new Map();
  for (const { status } of sweep.trials) counts.set(status, (counts.get(status) ?? 0) + 1);
  const words = [...counts].map(([status, count]) => `${count} ${status}`);
  const left = Math.max(...sweep.trials.map(({ eta }) => eta ?? 0));
  if (left > 0) words.push(`the running ones take about ${duration(left)} more`);
  const silent = sweep.trials.filter((trial) => trial.silent > SILENT_S);
  for (const trial of silent) {
    words.push(`trial ${trial.name} was last heard of ${duration(trial.silent)} ago`);
  }
  byId("state").textContent = `${sweep.trials.length} trials: ${words.join(", ")}.`;
}

function shownTrials() {
  return sweep.trials.filter((trial) =>
    sweep.varied.every((name) => !hidden.get(name)?.has(trial.values[name])),
  );
}

function colorOf(trial) {
  return COLORS[sweep.trials.indexOf(trial) % COLORS.length];
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
    row.className = trial.status;
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colorOf(trial);
    const name = cell(swatch);
    name.append(trial.name);
    const remarks = cell([trial.error, ...trial.inherited].filter(Boolean).join("; "));
    remarks.className = "error";
    const words = [trial.status, ...sweep.varied.map((each) => setting(trial.values[each])),
      `${trial.epoch} of ${trial.epochs}`, spent ? duration(spent) : "", duration(trial.eta),
      number(last?.val_l1, 2), number(last?.val_psnr, 1), number(last?.semantic, 3),
      number(last?.frechet, 1), number(last?.hue_frechet, 1), number(last?.colorfulness, 2)];
    row.append(name, ...words.map((each) => cell(each)), remarks);
    return row;
  }));
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

function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily },
    margin: { l: 60, r: 20, t: 20, b: 50 },
    legend: { orientation: "h", y: -0.2 },
    xaxis: { ...axis, ...more.xaxis },
    yaxis: { ...axis, ...more.yaxis },
    ...more.rest,
  };
}

function plot(id, traces, shape) {
  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  window.Plotly.react(byId(id), traces, shape, options);
}

function drawCurves() {
  const metric = byId("metric").value;
  if (!metric) return;
  const over = byId("axis").value === "epoch" ? 0 : 1;
  const traces = shownTrials().map((trial) => {
    const all = points(trial, metric);
    return {
      x: all.map((point) => point[over]),
      y: all.map((point) => point[2]),
      name: label(trial),
      mode: "lines+markers",
      line: { color: colorOf(trial) },
      marker: { size: 5 },
    };
  });
  const unit = over ? "seconds of training" : "epoch";
  const shape = { xaxis: { title: { text: unit } }, yaxis: { title: { text: NAMES[metric] } } };
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
      name: label(trial),
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
    upright(name, trials.map((trial) => trial.values[name]), setting),
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

// A vertical axis: heights in [0, 1], evenly spaced for few or non-numeric values.
function upright(name, values, inWords) {
  const distinct = [...new Set(values)];
  const numbers = distinct.every((value) => typeof value === "number");
  if (numbers) distinct.sort((one, other) => one - other);
  const [low, high] = [distinct[0], distinct.at(-1)];
  const spread = Math.max(1, distinct.length - 1);
  const byPlace = !numbers || (sweep.varied.includes(name) && distinct.length <= 6);
  const height = (value) =>
    distinct.length === 1 ? 0.5 : byPlace ? distinct.indexOf(value) / spread : (value - low) / (high - low);
  const ticked = byPlace ? distinct : distinct.length === 1 ? [low] : [low, high];
  return {
    name,
    heights: values.map(height),
    words: values.map(inWords),
    ticks: ticked.map((value) => [height(value), inWords(value)]),
  };
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
