"""What a person does on the service's page, and what the browser shows there."""

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from colorgan.data.scenes import draw_scene

SIZE = (160, 120)

API = "**/{classify,colorize,models}*"


def drawn(format: str = "JPEG", seed: int = 102) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_scene("animals", seed, SIZE[1], SIZE[0])).save(buffer, format)
    return buffer.getvalue()


def photograph(folder: Path, name: str, seed: int = 102) -> Path:
    path = folder / name
    path.write_bytes(drawn("JPEG", seed))
    return path


def bomb(path: Path) -> Path:
    """A true PNG of 60 megapixels in a few kilobytes: one bit a pixel, all of them black."""
    width, height = 10_000, 6_000

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(height * (1 + width // 8))))
        + chunk(b"IEND", b"")
    )
    return path


def send_files_by(event: str, page: Page, target: str, **files: bytes) -> None:
    """Let an event happen that carries files, as the browser makes it for drops and pastes."""
    page.evaluate(
        """([event, target, files]) => {
            const data = new DataTransfer();
            for (const [name, text] of Object.entries(files)) {
                const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
                data.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            const options = { bubbles: true, cancelable: true };
            const carrier = event === "paste"
                ? new ClipboardEvent(event, { ...options, clipboardData: data })
                : new DragEvent(event, { ...options, dataTransfer: data });
            document.querySelector(target).dispatchEvent(carrier);
        }""",
        [event, target, {name: base64.b64encode(data).decode() for name, data in files.items()}],
    )


def choose(page: Page, *paths: Path) -> None:
    page.get_by_label("Choose photographs").set_input_files(paths)


def card_of(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def await_colours(card: Locator) -> None:
    expect(card).to_have_attribute("data-state", "done")
    expect(slider_of(card)).to_be_visible()


def slider_of(card: Locator) -> Locator:
    """The slider between before and after."""
    return card.get_by_role("slider", name="before and after")


def pixels(image: Locator) -> list[int]:
    """A small version of what an <img> shows, as RGBA."""
    return image.evaluate(
        """async (image) => {
            await image.decode();
            const canvas = new OffscreenCanvas(32, 24).getContext("2d");
            canvas.drawImage(image, 0, 0, 32, 24);
            return Array.from(canvas.getImageData(0, 0, 32, 24).data);
        }"""
    )


def chroma(image: Locator) -> float:
    """The mean distance of the channels of what an <img> shows."""
    rgb = np.reshape(pixels(image), (-1, 4))[:, :3]
    return float(np.ptp(rgb, axis=1).mean())


def colourfulness(element: Locator) -> float:
    """The mean distance of an element's channels on the screen, clear of its tags and edges."""
    screen = np.array(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), int)
    height, width, _ = screen.shape
    middle = screen[height // 4 : height // 3, width // 8 : -width // 8]
    return float((middle.max(axis=2) - middle.min(axis=2)).mean())
