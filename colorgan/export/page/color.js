// A picture's own lightness joined with generated colours: CIE L*a*b* (D65) and sRGB, as
// colorgan/images/lab.py computes them.

import { scaledAcross, scaledDown } from "./scaling.js";

const AB_SCALE = 110; // a and b leave a generator divided by it
const LUMINANCE = [0.212671, 0.71516, 0.072169]; // Y of linear sRGB
// Linear sRGB of X, Y and Z relative to the white point.
const RGB_OF_XYZ = [
  [3.079980302, -1.537151516, -0.542821308],
  [-0.921247752, 1.875990001, 0.045247340],
  [0.052890461, -0.204041338, 1.151232012],
];
const DELTA = 6 / 29;
const STEPS = 65535;

// The luminance of each level of each channel, and the sRGB level of each step of linear light.
const SHARES = LUMINANCE.map((share) => Float64Array.from({ length: 256 }, (_, level) => {
  const value = level / 255;
  return share * (value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92);
}));
const LEVELS = Uint8ClampedArray.from({ length: STEPS + 1 }, (_, step) => {
  const light = step / STEPS;
  return 255 * (light > 0.0031308 ? 1.055 * light ** (1 / 2.4) - 0.055 : 12.92 * light);
});

// Replace the colours of a picture in place: an ImageData, whose lightness L and whose opacity
// stay. `color` are a and b as a generator gives them, (2, size, size); `vividness` multiplies them.
export function recolor({ data, width, height }, color, size, vividness = 1) {
  const [a, b] = [0, 1].map((number) => {
    const plane = color.subarray(number * size * size, (number + 1) * size * size);
    return new Rows(plane.map((value) => clamp(value * vividness, -1, 1)), size, width, height);
  });
  const [red, green, blue] = RGB_OF_XYZ;
  for (let row = 0, place = 0; row < height; row += 1) {
    const [rowA, rowB] = [a.row(row), b.row(row)];
    for (let column = 0; column < width; column += 1, place += 4) {
      const luminance =
        SHARES[0][data[place]] + SHARES[1][data[place + 1]] + SHARES[2][data[place + 2]];
      const middle = luminance > DELTA ** 3 ? Math.cbrt(luminance) : straight(luminance);
      const x = cubed(middle + rowA[column] * (AB_SCALE / 500));
      const y = cubed(middle);
      const z = cubed(middle - rowB[column] * (AB_SCALE / 200));
      data[place] = levelOf(red[0] * x + red[1] * y + red[2] * z);
      data[place + 1] = levelOf(green[0] * x + green[1] * y + green[2] * z);
      data[place + 2] = levelOf(blue[0] * x + blue[1] * y + blue[2] * z);
    }
  }
}

// A square plane scaled bilinearly to a picture's size, one row at a time: whole, it would take more
// memory than the picture.
class Rows {
  #lines;
  #count;
  #step;
  #width;
  #row;

  constructor(plane, size, width, height) {
    this.#count = Math.min(height, size);
    const fewer = scaledDown(plane, size, size, this.#count, "BILINEAR");
    this.#lines = scaledAcross(fewer, this.#count, size, width, "BILINEAR");
    this.#step = this.#count / height;
    this.#width = width;
    this.#row = new Float32Array(width);
  }

  // The row, which the next call overwrites.
  row(number) {
    const place = clamp((number + 0.5) * this.#step - 0.5, 0, this.#count - 1);
    const above = Math.floor(place) * this.#width;
    const below = Math.min(Math.floor(place) + 1, this.#count - 1) * this.#width;
    const share = place % 1;
    for (let column = 0; column < this.#width; column += 1) {
      const [upper, lower] = [this.#lines[above + column], this.#lines[below + column]];
      this.#row[column] = upper + share * (lower - upper);
    }
    return this.#row;
  }
}

function levelOf(light) {
  return LEVELS[Math.floor(clamp(light, 0, 1) * STEPS + 0.5)];
}

function straight(luminance) {
  return luminance / (3 * DELTA ** 2) + 4 / 29;
}

function cubed(root) {
  return root > DELTA ? root * root * root : 3 * DELTA ** 2 * (root - 4 / 29);
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
