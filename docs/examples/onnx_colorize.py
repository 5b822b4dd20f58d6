"""Without PyTorch: colorgan export assembled -o FOLDER; onnx_colorize.py FOLDER PHOTO RESULT."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

Y_OF_RGB = np.array([0.212671, 0.71516, 0.072169])
XYZ_OF_RGB = np.array([[0.412453, 0.35758, 0.180423], Y_OF_RGB, [0.019334, 0.119193, 0.950227]])
RGB_OF_XYZ = np.linalg.inv(XYZ_OF_RGB / [[0.95047], [1], [1.08883]])


def run(path, photograph):
    session = onnxruntime.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    square = np.asarray(photograph.resize((int(facts["size"]),) * 2, Image.Resampling.BICUBIC))
    return session.run(None, {"photographs": square.transpose(2, 0, 1)[None]})[0][0], facts


def main(folder, source, target):
    photograph = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
    scores, rule = run(folder / "router.onnx", photograph)
    sure = scores.max() >= float(rule["threshold"])
    name = json.loads(rule["classes"])[scores.argmax()] if sure else rule["fallback"]
    planes = map(Image.fromarray, run(folder / f"{name}.onnx", photograph)[0])
    a, b = (110 * np.asarray(p.resize(photograph.size, Image.Resampling.BILINEAR)) for p in planes)
    rgb = np.asarray(photograph) / 255  # to CIE Lab's L, and from that L with a and b back to sRGB
    light = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92) @ Y_OF_RGB
    y = np.where(light > 216 / 24389, np.cbrt(light), light * 841 / 108 + 4 / 29)
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    light = (np.where(f > 6 / 29, f**3, (f - 4 / 29) * 108 / 841) @ RGB_OF_XYZ.T).clip(0, 1)
    srgb = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    Image.fromarray((srgb * 255).round().astype(np.uint8)).save(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
