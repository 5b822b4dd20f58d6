// A table cell that contains text or an element.
export function cell(content, kind = "td") {
  const made = document.createElement(kind);
  made.append(content);
  return made;
}

// A number as text; empty for null.
export function number(value, digits) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

// A hyper-parameter's value as text.
export function setting(value) {
  return typeof value === "number" && !Number.isInteger(value)
    ? String(Number(value.toPrecision(3)))
    : String(value);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
