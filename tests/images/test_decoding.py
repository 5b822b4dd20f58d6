import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from colorgan.errors import ImageRejected
from colorgan.images.decoding import (
    Pixels,
    content_hash,
    decode,
    encode_jpeg,
    encode_png,
    is_grayscale,
    resize_short_side,
    resize_square,
)

# What a viewer does with the stored pixels, by the value of the EXIF tag Orientation.
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}

PNG = b"\x89PNG\r\n\x1a\n"


def smooth(height: int = 40, width: int = 56, seed: int = 0) -> Pixels:
    """A colourful picture that JPEG hardly changes, different in every corner."""
    cells = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BILINEAR))


def save(image: Image.Image | Pixels, container: str, **options: object) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, container, **options)
    return buffer.getvalue()


def frames(container: str) -> bytes:
    first, second = Image.fromarray(smooth(seed=1)), Image.fromarray(smooth(seed=2))
    return save(first, container, save_all=True, append_images=[second])


def chunk(content: bytes) -> bytes:
    """A chunk of a PNG, from its kind and its data."""
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(bytes(64)), b"IEND")
    return PNG + b"".join(chunk(each) for each in chunks)


def gif_header(width: int, height: int) -> bytes:
    data = save(Image.new("P", (1, 1)), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def bmp_header(width: int, height: int) -> bytes:
    data = save(Image.new("RGB", (1, 1)), "BMP")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(ImageRejected) as rejected:
        decode(data, **options)
    return rejected.value.reason


def difference(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
    ],
)
def test_photographs_are_turned_upright(
    container: str, options: dict[str, object], orientation: int
) -> None:
    stored = smooth()
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(save(stored, container, exif=exif, **options)).rgb
    assert difference(decoded, UPRIGHT[orientation](stored)) <= (8 if container == "JPEG" else 0)


@pytest.mark.parametrize("container", ["PNG", "BMP", "TIFF"])
def test_lossless_containers_keep_every_pixel(container: str) -> None:
    photograph = decode(save(smooth(), container))
    assert difference(photograph.rgb, smooth()) == 0
    assert photograph.rgb.dtype == np.uint8
    assert photograph.alpha is None


@pytest.mark.parametrize("container", ["JPEG", "WEBP"])
def test_lossy_containers_keep_the_picture(container: str) -> None:
    assert difference(decode(save(smooth(), container, quality=95)).rgb, smooth()) < 24


def test_a_palette_becomes_its_colours() -> None:
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    indexed.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 90])
    photograph = decode(save(indexed, "PNG"))
    assert photograph.rgb.tolist() == [
        [[255, 0, 0], [0, 200, 0]],
        [[0, 0, 90], [0, 200, 0]],
    ]
    assert photograph.alpha is None


@pytest.mark.parametrize("container", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_alpha(container: str) -> None:
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    indexed.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 90])
    photograph = decode(save(indexed, container, transparency=1))
    assert photograph.alpha is not None
    assert photograph.alpha.tolist() == [[255, 0], [255, 0]]
    assert photograph.rgb[1, 0].tolist() == [0, 0, 90]


def test_a_transparent_colour_becomes_alpha() -> None:
    rgb = smooth()
    photograph = decode(save(rgb, "PNG", transparency=tuple(rgb[3, 5].tolist())))
    assert photograph.alpha is not None
    assert difference(photograph.alpha, np.where((rgb == rgb[3, 5]).all(-1), 0, 255)) == 0
    assert difference(photograph.rgb, rgb) == 0


@pytest.mark.parametrize("container", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("ink", "color"),
    [
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 128), (127, 127, 127)),
    ],
)
def test_cmyk_becomes_rgb(container: str, ink: tuple[int, ...], color: tuple[int, ...]) -> None:
    rgb = decode(save(Image.new("CMYK", (16, 8), ink), container)).rgb
    assert difference(rgb, np.broadcast_to(np.array(color), (8, 16, 3))) <= 3


@pytest.mark.parametrize(("container", "order"), [("PNG", "<"), ("TIFF", "<"), ("TIFF", ">")])
def test_sixteen_bits_of_gray_are_scaled_to_eight(container: str, order: str) -> None:
    gray = np.arange(256, dtype=np.uint16).reshape(8, 32)
    mode = "I;16" if order == "<" else "I;16B"
    data = (gray * 257).astype(f"{order}u2").tobytes()
    rgb = decode(save(Image.frombytes(mode, (32, 8), data), container)).rgb
    assert difference(rgb, np.stack([gray] * 3, axis=-1)) == 0


def test_a_picture_of_floats_is_scaled_to_eight_bits() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    rgb = decode(save(Image.fromarray(ramp), "TIFF")).rgb
    assert difference(rgb, np.stack([(ramp * 255).round()] * 3, axis=-1)) == 0


@pytest.mark.parametrize("container", ["PNG", "BMP", "TIFF"])
def test_one_bit_becomes_black_and_white(container: str) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (9, 13)).astype(bool)
    rgb = decode(save(Image.fromarray(bits), container)).rgb
    assert difference(rgb, np.stack([bits * 255] * 3, axis=-1)) == 0


def test_gray_becomes_three_equal_channels() -> None:
    gray = smooth()[..., 0]
    assert difference(decode(save(gray, "PNG")).rgb, np.stack([gray] * 3, axis=-1)) == 0


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept_beside_the_colours(mode: str) -> None:
    pixels = np.dstack([smooth(), smooth(seed=1)[..., 0]])
    image = Image.fromarray(pixels)
    if mode == "LA":
        gray = Image.fromarray(pixels[..., 0])
        image = Image.merge("LA", (gray, image.getchannel("A")))
        pixels[..., 1] = pixels[..., 2] = pixels[..., 0]
    photograph = decode(save(image, "PNG"))
    assert photograph.alpha is not None
    assert difference(photograph.rgb, pixels[..., :3]) == 0
    assert difference(photograph.alpha, pixels[..., 3]) == 0


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """SRGB with red and blue swapped: a profile that nobody can overlook."""
    swapped = srgb_profile().replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ")
    return swapped.replace(b"?XYZ", b"bXYZ")


@pytest.mark.parametrize("container", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_an_embedded_profile_is_applied(container: str) -> None:
    options = {"lossless": True} if container == "WEBP" else {}
    plain = decode(save(smooth(), container, **options)).rgb
    decoded = decode(save(smooth(), container, icc_profile=swapped_profile(), **options)).rgb
    assert difference(decoded, plain[..., ::-1]) <= 3


def test_a_profile_is_applied_beside_alpha_and_to_palettes() -> None:
    pixels = np.dstack([smooth(), smooth(seed=1)[..., 0]])
    photograph = decode(save(pixels, "PNG", icc_profile=swapped_profile()))
    assert photograph.alpha is not None
    assert difference(photograph.rgb, pixels[..., 2::-1]) <= 3
    assert difference(photograph.alpha, pixels[..., 3]) == 0
    indexed = Image.new("P", (4, 4))
    indexed.putpalette([200, 30, 10])
    rgb = decode(save(indexed, "PNG", icc_profile=swapped_profile())).rgb
    assert difference(rgb, np.full((4, 4, 3), (10, 30, 200))) <= 3


def test_the_profile_of_srgb_changes_nothing() -> None:
    assert difference(decode(save(smooth(), "PNG", icc_profile=srgb_profile())).rgb, smooth()) <= 1


@pytest.mark.parametrize(
    "profile", [b"no profile at all", srgb_profile()[:200], bytes(128)], ids=["text", "cut", "zero"]
)
def test_a_damaged_profile_is_ignored(profile: bytes) -> None:
    assert difference(decode(save(smooth(), "PNG", icc_profile=profile)).rgb, smooth()) == 0


def test_a_profile_for_another_kind_of_pixels_is_ignored() -> None:
    gray = smooth()[..., 0]
    rgb = decode(save(gray, "PNG", icc_profile=swapped_profile())).rgb
    assert difference(rgb, np.stack([gray] * 3, axis=-1)) == 0


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_was_cut_short(container: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save(noise, container)
    assert reason(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("container", ["GIF", "WEBP", "PNG"])
def test_more_than_one_frame(container: str) -> None:
    assert reason(frames(container)) == "animated"


@pytest.mark.parametrize("container", ["GIF", "WEBP", "TIFF", "PNG"])
def test_one_frame_is_a_photograph_in_any_container(container: str) -> None:
    assert decode(save(smooth(), container)).rgb.shape == smooth().shape


def test_the_second_picture_of_a_telephone_is_left_aside() -> None:
    data = frames("MPO")
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
    assert difference(decode(data).rgb, decode(save(smooth(seed=1), "JPEG")).rgb) == 0


def test_too_many_pixels_for_the_limit() -> None:
    data = save(smooth(40, 56), "PNG")
    assert decode(data, max_pixels=40 * 56).rgb.shape == (40, 56, 3)
    assert reason(data, max_pixels=40 * 56 - 1) == "too many pixels"


@pytest.mark.parametrize(
    "data",
    [
        png_header(9_000, 9_000),
        png_header(100_000, 100_000),
        gif_header(65_535, 65_535),
        bmp_header(9_000, 9_000),
    ],
    ids=["png", "huge png", "gif", "bmp"],
)
def test_a_decompression_bomb_is_refused_by_its_header(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason(data) == "too many pixels"


REASONS = ("not an image", "unsupported format", "too many pixels", "animated", "truncated")
REASONS += ("several pages", "empty")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("container", ["GIF", "TIFF", "PNG", "WEBP", "JPEG", "BMP"])
def test_no_damage_goes_unnamed(container: str) -> None:
    """Every damaged file is decoded after all or rejected: another error would end a staging."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    options: dict[str, object] = {} if container in ("GIF", "BMP") else {"exif": exif}
    if container in ("GIF", "TIFF"):
        options |= {"save_all": True, "append_images": [Image.fromarray(smooth(10, 9, seed=1))]}
    whole = save(smooth(10, 9), container, **options)
    draw = random.Random(0)
    escaped = set()
    for _ in range(800):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 2, 5))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            decode(bytes(data[: draw.randrange(len(data))] if draw.random() < 0.3 else data))
        except ImageRejected as rejected:
            assert rejected.reason in REASONS
        except Exception as error:
            escaped.add(f"{type(error).__name__}: {error}")
    assert not escaped


def test_a_tag_of_the_wrong_type_beside_the_orientation_does_no_harm() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    data = save(smooth(), "WEBP", exif=exif, lossless=True)
    text, fraction = (struct.pack(">HHI", tag, 2, 6) for tag in (0x010F, 0x011F))
    assert text in data
    # The text is now under the tag XPosition, which should be a fraction.
    data = data.replace(text, fraction)
    assert difference(decode(data).rgb, np.rot90(smooth(), -1)) == 0


def gray_photograph() -> Pixels:
    return np.stack([smooth(200, 200)[..., 0]] * 3, axis=-1)


def test_a_gray_photograph_in_three_channels_is_grayscale() -> None:
    assert is_grayscale(gray_photograph())
    assert is_grayscale(decode(save(gray_photograph(), "JPEG", quality=40)).rgb)


def test_the_colour_noise_of_a_scan_is_no_colour() -> None:
    noise = np.random.default_rng(0).integers(-15, 16, (200, 200, 3))
    assert is_grayscale((gray_photograph() + noise).clip(0, 255).astype(np.uint8))


def test_sepia_is_colour() -> None:
    sepia = (gray_photograph() * np.array([1.0, 0.85, 0.65])).astype(np.uint8)
    assert not is_grayscale(sepia)


def test_a_small_colourful_object_is_colour() -> None:
    photograph = gray_photograph()
    photograph[90:114, 40:64] = (220, 30, 30)
    assert not is_grayscale(photograph)


def test_a_speck_of_colour_is_not_enough() -> None:
    photograph = gray_photograph()
    photograph[90:100, 40:50] = (220, 30, 30)
    assert is_grayscale(photograph)


def test_the_same_pixels_have_the_same_hash_in_any_container() -> None:
    hashes = {content_hash(decode(save(smooth(), kind)).rgb) for kind in ("PNG", "BMP", "TIFF")}
    assert hashes == {content_hash(smooth())}


def test_the_hash_is_of_the_pixels_and_not_of_their_place_in_memory() -> None:
    mirrored = smooth()[:, ::-1]
    assert content_hash(mirrored) == content_hash(np.ascontiguousarray(mirrored))
    assert content_hash(mirrored) != content_hash(smooth())


def test_other_shapes_and_other_pixels_have_other_hashes() -> None:
    wide, tall = np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)
    changed = wide.copy()
    changed[3, 5, 2] = 1
    assert len({content_hash(wide), content_hash(tall), content_hash(changed)}) == 3


@pytest.mark.parametrize(
    ("shape", "resized"),
    [
        ((300, 400), (100, 133)),
        ((400, 300), (133, 100)),
        ((100, 101), (100, 101)),
        ((101, 102), (100, 101)),
        ((200, 200), (100, 100)),
        ((120, 3000), (100, 2500)),
    ],
)
def test_the_short_side_is_resized(shape: tuple[int, int], resized: tuple[int, int]) -> None:
    assert resize_short_side(smooth(*shape), 100).shape == (*resized, 3)


def test_resizing_keeps_the_picture() -> None:
    assert difference(resize_short_side(smooth(200, 280), 100), smooth(100, 140)) <= 4


@pytest.mark.parametrize("shape", [(40, 60), (50, 60), (1, 900)])
def test_a_small_photograph_is_not_enlarged(shape: tuple[int, int]) -> None:
    assert difference(resize_short_side(smooth(*shape), 50), smooth(*shape)) == 0


def test_a_square_holds_the_whole_photograph() -> None:
    square = resize_square(smooth(90, 160), 64)
    assert difference(square, smooth(64, 64)) <= 6
    assert difference(resize_square(square, 64), square) == 0


def test_what_is_encoded_is_decoded() -> None:
    alpha = smooth(seed=1)[..., 0]
    png = decode(encode_png(smooth(), alpha))
    assert png.alpha is not None
    assert difference(png.rgb, smooth()) == difference(png.alpha, alpha) == 0
    assert decode(encode_png(smooth())).alpha is None
    assert difference(decode(encode_jpeg(smooth())).rgb, smooth()) <= 8


def test_a_jpeg_keeps_colours_as_sharp_as_the_rest() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (200, 40, 40)
    stripes[:, 1::2] = (40, 90, 200)
    assert np.abs(decode(encode_jpeg(stripes)).rgb.astype(int) - stripes).mean() < 5
