import { Unable } from "./unable.js";

// Decode a file to an upright ImageData in sRGB.
export async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Unable("This browser can’t read the file. Save it as JPEG, PNG or WebP first.");
  }
  try {
    const context = surface(bitmap);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  } catch {
    const megapixels = Math.round((bitmap.width * bitmap.height) / 1e6);
    throw new Unable(`A photograph of ${megapixels} megapixels is too large for this browser.`);
  } finally {
    bitmap.close();
  }
}

// A blob of an ImageData as `png` or `jpeg`.
export async function encoded(image, format) {
  const context = surface(image);
  context.putImageData(image, 0, 0);
  return context.canvas.convertToBlob({ type: `image/${format}`, quality: 0.95 });
}

function surface({ width, height }) {
  return new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
}
