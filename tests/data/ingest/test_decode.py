"""Decoding: files of every format and mode get the colours and orientation that a viewer shows."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from repflow.data.ingest import decode as module
from repflow.data.ingest.decode import Decoded, Undecodable, decode, decode_whole
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.formats import START_BYTES, starts_as_image

EIGHT = ImageFormat(8, 3, "stretch")
RED, WHITE, GREY = (255, 0, 0), (255, 255, 255), (128, 128, 128)


def saved(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (10, 10), colour)


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return saved(image, transparency=1) if transparent else saved(image)


def grey16(value: int, kind: str = "PNG") -> bytes:
    return saved(Image.fromarray(np.full((10, 10), value, np.uint16)), kind)


FILES = {
    "RGB": (saved(flat("RGB", RED)), RED, "RGB"),
    "grey": (saved(flat("L", 128)), GREY, "L"),
    "1 bit, black": (saved(flat("1", 0)), (0, 0, 0), "1"),
    "1 bit, white": (saved(flat("1", 1)), WHITE, "1"),
    "palette": (palette(transparent=False), RED, "P"),
    "palette with a transparent colour": (palette(transparent=True), WHITE, "P"),
    "RGBA, opaque": (saved(flat("RGBA", (255, 0, 0, 255))), RED, "RGBA"),
    "RGBA, transparent": (saved(flat("RGBA", (255, 0, 0, 0))), WHITE, "RGBA"),
    "RGBA, half": (saved(flat("RGBA", (255, 0, 0, 128))), (255, 127, 127), "RGBA"),
    "RGBA as WebP": (saved(flat("RGBA", (0, 0, 0, 0)), "WEBP", lossless=True), WHITE, "RGBA"),
    "LA, half": (saved(flat("LA", (0, 128))), (127, 127, 127), "LA"),
    "RGB with a transparent colour": (saved(flat("RGB", RED), transparency=RED), WHITE, "RGB"),
    "16 bits": (grey16(32896), GREY, "I;16"),
    "16 bits, white": (grey16(65535), WHITE, "I;16"),
    "16 bits, almost black": (grey16(257), (1, 1, 1), "I;16"),
    "16 bits as TIFF": (grey16(32896, "TIFF"), GREY, "I;16"),
    "32 bits as TIFF": (saved(flat("I", 32896), "TIFF"), GREY, "I"),
    "floating point, 0 to 1": (saved(flat("F", 0.5), "TIFF"), GREY, "F"),
    "floating point, 0 to 255": (saved(flat("F", 128.0), "TIFF"), GREY, "F"),
    "CMYK as TIFF": (saved(flat("CMYK", (0, 255, 255, 0)), "TIFF"), RED, "CMYK"),
    "BMP": (saved(flat("RGB", RED), "BMP"), RED, "RGB"),
    "PPM": (saved(flat("RGB", RED), "PPM"), RED, "RGB"),
    "PGM of 16 bits": (b"P5 10 10 65535\n" + bytes([128, 128]) * 100, GREY, "I"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_has_the_colour_that_a_viewer_shows(name: str) -> None:
    content, colour, mode = FILES[name]
    decoded = decode(content, EIGHT)
    assert (decoded.pixels == np.array(colour, np.uint8)[:, None, None]).all()
    assert decoded == Decoded(decoded.pixels, 10, 10, mode, 1)


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_becomes_grey_in_a_grey_store(name: str) -> None:
    content, colour, _ = FILES[name]
    luma = Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))
    assert (decode(content, ImageFormat(8, 1, "pad")).pixels == luma).all()


def test_a_cmyk_jpeg_has_its_colours() -> None:
    pixels = decode(saved(flat("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), EIGHT).pixels
    assert np.abs(pixels.astype(int) - np.array(RED)[:, None, None]).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = RED  # the upper left quarter, 32 wide and 16 high
    turns: dict[int, list[Image.Transpose]] = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = Image.fromarray(upright)
    for turn in turns[orientation]:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(saved(image, kind, exif=exif), ImageFormat(16, 3, "stretch"))
    assert (decoded.width, decoded.height) == (32, 16)
    quarters = decoded.pixels[0].reshape(2, 8, 2, 8)[:, 2:6, :, 2:6].mean(axis=(1, 3))
    assert np.round(quarters / 255).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame_and_their_number(kind: str) -> None:
    frames = [flat("RGB", colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless), EIGHT)
    assert decoded.frames == 3
    assert (decoded.pixels == np.array(RED, np.uint8)[:, None, None]).all()


def test_downscaling_while_decoding_a_jpeg_barely_changes_its_pixels(texture: np.ndarray) -> None:
    large = Image.fromarray(texture).resize((192, 256), Image.Resampling.BICUBIC)
    content = saved(large, "JPEG", quality=95)
    for resize in ("crop", "pad", "stretch"):
        decoded = decode(content, ImageFormat(32, 3, resize))
        whole = decode(saved(large), ImageFormat(32, 3, resize))
        assert (decoded.width, decoded.height) == (192, 256)
        assert np.abs(decoded.pixels.astype(int) - whole.pixels).mean() < 0.4  # over 0.5 where too little is decoded


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_odd_shapes_are_resized(size: tuple[int, int], resize: Any, kind: str) -> None:
    decoded = decode(saved(Image.new("RGB", size, RED), kind), ImageFormat(32, 3, resize))
    assert decoded.pixels.shape == (3, 32, 32)
    assert (decoded.width, decoded.height) == size
    assert decoded.pixels[0].max() > 250


def test_pad_adds_black_borders() -> None:
    pixels = decode(saved(Image.new("L", (32, 16), 255)), ImageFormat(16, 1, "pad")).pixels[0]
    assert (pixels[4:12] == 255).all()
    assert pixels[:4].max() == pixels[12:].max() == 0


REFUSED = {
    "nothing in it": (b"", "empty"),
    "text": (b"hello, I am no image", "not an image"),
    "a PNG's first bytes": (saved(flat("RGB", RED))[:20], "damaged"),
    "a truncated JPEG": (saved(Image.effect_noise((64, 64), 50), "JPEG")[:-500], "truncated"),
    "a truncated PNG": (saved(Image.effect_noise((64, 64), 50))[:-900], "damaged"),
    "a large floating-point value": (saved(flat("F", 1000.0), "TIFF"), "floating-point"),
    "a negative 32-bit value": (saved(flat("I", -5), "TIFF"), "32-bit"),
    "a format that runs a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_decoded_is_refused_with_a_reason(name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(Undecodable, match=reason) as caught:
        decode(content, EIGHT)
    assert " at 0x" not in str(caught.value)


def test_a_reason_is_the_same_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image) -> None:
        raise OSError("cannot read <_io.BytesIO object at 0x7f96e625e790> further")

    monkeypatch.setattr(PngImageFile, "load", fail)
    with pytest.raises(Undecodable, match=r"^damaged: cannot read the file further$"):
        decode(saved(flat("RGB", RED)), EIGHT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limit", [99, 40])  # 40: less than half, where Pillow itself says no
def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", limit)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(Undecodable, match=f"more than the limit of {limit} pixels"):
        decode(saved(flat("RGB", RED)), EIGHT)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_exif_block_does_not_lose_the_image() -> None:
    content = saved(flat("RGB", RED), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=95)
    assert np.abs(decode(content, EIGHT).pixels[0].astype(int) - 255).max() <= 3


def test_a_whole_photo_keeps_its_size_unless_it_is_large(texture: np.ndarray) -> None:
    content = saved(Image.fromarray(texture))
    assert np.array_equal(decode_whole(content, 640), texture.transpose(2, 0, 1))
    assert decode_whole(content, 32).shape == (3, 32, 24)


def test_avif_is_read() -> None:
    assert np.abs(decode(saved(flat("RGB", RED), "AVIF"), EIGHT).pixels[:, 0, 0].astype(int) - RED).max() < 4


HEIC = ("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1")


def start_of(brand: str) -> bytes:
    return b"\0\0\0\x1cftyp" + brand.encode() + b"\0\0\0\0mif1miaf"


@pytest.mark.parametrize("brand", [*HEIC, "avif", "avis"])
def test_every_brand_of_avif_and_heic_is_an_image_whatever_its_name(brand: str) -> None:
    assert starts_as_image(start_of(brand)[:START_BYTES])
    assert not starts_as_image(start_of("mp42")[:START_BYTES])


@pytest.mark.parametrize("brand", HEIC)
def test_heic_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, brand: str) -> None:
    monkeypatch.setattr(module, "_HEIF", ())
    monkeypatch.setattr(module, "FORMATS", tuple(name for name in module.FORMATS if name != "HEIF"))
    with pytest.raises(Undecodable, match=r"HEIC, which needs the extra `heif`: pip install 'repflow\[heif\]'"):
        decode(start_of(brand), EIGHT)


def test_heic_is_read_with_its_extra() -> None:
    pytest.importorskip("pillow_heif")
    assert np.abs(decode(saved(flat("RGB", RED), "HEIF"), EIGHT).pixels[:, 0, 0].astype(int) - RED).max() < 4
