// How the plots of a sweep look.
export const NARROW = "(max-width: 640px)";

export function isNarrow() {
  return matchMedia(NARROW).matches;
}

export function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily },
    margin: isNarrow() ? { l: 44, r: 8, t: 12, b: 40 } : { l: 60, r: 20, t: 20, b: 50 },
    legend: { orientation: "h", y: -0.2 },
    xaxis: { ...axis, ...more.xaxis },
    yaxis: { ...axis, ...more.yaxis },
    ...more.rest,
  };
}

// Draw a plot, or change it.
export function plot(id, traces, shape) {
  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  window.Plotly.react(document.getElementById(id), traces, shape, options);
}

// A vertical axis: heights in [0, 1], evenly spaced if values are no numbers, or are few.
export function upright(name, values, inWords, spacesFew = false) {
  const distinct = [...new Set(values)];
  const numbers = distinct.every((value) => typeof value === "number");
  if (numbers) distinct.sort((one, other) => one - other);
  const [low, high] = [distinct[0], distinct.at(-1)];
  const spread = Math.max(1, distinct.length - 1);
  const byPlace = !numbers || (spacesFew && distinct.length <= 6);
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
