// Resampling with antialiasing, as Pillow and PyTorch do it: the kernel is widened by the factor by
// which a side shrinks. Each direction is scaled by itself.

const KERNELS = {
  BILINEAR: { reach: 1, at: (distance) => Math.max(0, 1 - distance) },
  BICUBIC: { reach: 2, at: cubic },
};

// Keys (1981) with a = -0.5.
function cubic(distance) {
  if (distance < 1) return (1.5 * distance - 2.5) * distance * distance + 1;
  if (distance < 2) return -0.5 * (((distance - 5) * distance + 8) * distance - 4);
  return 0;
}

// The weights of a side's pixels in each pixel of the scaled side: { first, weights } of each.
function tapsOf(length, target, kernel) {
  const { reach, at } = KERNELS[kernel];
  const scale = length / target;
  const wide = Math.max(scale, 1);
  return Array.from({ length: target }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * wide + 0.5));
    const end = Math.min(length, Math.trunc(centre + reach * wide + 0.5));
    const weights = new Float64Array(end - first);
    let sum = 0;
    for (let tap = 0; tap < weights.length; tap += 1) {
      weights[tap] = at(Math.abs(tap + first - centre + 0.5) / wide);
      sum += weights[tap];
    }
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

// Scale a plane (height, width) of numbers to `target` columns, into an array of `Result`.
export function scaledAcross(plane, height, width, target, kernel, Result = Float32Array) {
  const taps = tapsOf(width, target, kernel);
  const scaled = new Result(height * target);
  for (let row = 0, place = 0; row < height; row += 1) {
    for (const { first, weights } of taps) {
      let sum = 0;
      const start = row * width + first;
      for (let tap = 0; tap < weights.length; tap += 1) sum += plane[start + tap] * weights[tap];
      scaled[place] = sum;
      place += 1;
    }
  }
  return scaled;
}

// Scale a plane (height, width) of numbers to `target` rows, into an array of `Result`.
export function scaledDown(plane, height, width, target, kernel, Result = Float32Array) {
  const scaled = new Result(target * width);
  const sums = new Float64Array(width);
  tapsOf(height, target, kernel).forEach(({ first, weights }, row) => {
    sums.fill(0);
    for (let tap = 0; tap < weights.length; tap += 1) {
      const start = (first + tap) * width;
      for (let column = 0; column < width; column += 1) {
        sums[column] += plane[start + column] * weights[tap];
      }
    }
    scaled.set(sums, row * width);
  });
  return scaled;
}

// What a network sees of a picture, (3, size, size) sRGB. `facts` are those of the model: without
// `resize`, the whole picture becomes the square; with it, the short side gets that length, and
// the square is cut from the middle.
export function squareOf({ data, width, height }, { size, resize, filter = "BICUBIC" }) {
  const short = Math.min(width, height);
  const [wide, high] = resize
    ? [width, height].map((length) => Math.trunc((resize * length) / short))
    : [size, size];
  const [left, top] = [wide, high].map((length) => toEven((length - size) / 2));
  const square = new Uint8Array(3 * size * size);
  const channel = new Uint8Array(width * height);
  for (let number = 0; number < 3; number += 1) {
    for (let place = 0; place < channel.length; place += 1) channel[place] = data[4 * place + number];
    // Pillow rounds to whole levels between the two directions, too.
    const lines = scaledAcross(channel, height, width, wide, filter, Uint8ClampedArray);
    const scaled = scaledDown(lines, height, wide, high, filter, Uint8ClampedArray);
    for (let row = 0; row < size; row += 1) {
      const start = (top + row) * wide + left;
      square.set(scaled.subarray(start, start + size), (number * size + row) * size);
    }
  }
  return square;
}

// Round half to even, as Python does.
function toEven(value) {
  return value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}
