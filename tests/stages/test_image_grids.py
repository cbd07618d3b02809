"""Image grids: the position of every pixel, and the metadata of the files."""

from pathlib import Path

import numpy as np
from PIL import Image

from repflow.evaluation.image_grids import ImageGrid
from repflow.stages.image_grids import read_image_grids, tile_images, write_image_grids


def marked(*values: int, channels: int = 3, size: int = 8) -> np.ndarray:
    """Images whose first channel has these values."""
    images = np.zeros((len(values), channels, size, size), np.uint8)
    images[:, 0] = np.array(values, np.uint8)[:, None, None]
    return images


def test_pixels_are_enlarged_and_gaps_are_transparent() -> None:
    sheet = tile_images([marked(0, 200), marked(0)], columns=2)
    assert sheet.shape == (2 * 64 + 4, 2 * 64 + 4, 4)
    assert (sheet[:64, 68:, :3] == [200, 0, 0]).all()
    assert (sheet[:64, 64:68, 3] == 0).all()
    assert (sheet[68:, 68:, 3] == 0).all(), "there is no fourth image"
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    assert np.array_equal(tile_images([ramp], columns=1)[::8, ::8, 0], ramp[0, 0])


def test_a_grey_image_is_grey_and_a_large_one_is_not_enlarged() -> None:
    sheet = tile_images([np.full((1, 1, 200, 200), 90, np.uint8)], columns=1)
    assert sheet.shape == (200, 200, 4)
    assert (sheet[..., :3] == 90).all()


def test_groups_have_wider_gaps() -> None:
    sheet = tile_images([marked(10, 20, 30, 40)], columns=4, cell=8, group=2)
    assert sheet.shape == (8, 4 * 8 + 4 + 16 + 4, 4)
    assert sheet[0, [0, 12, 36, 48], 0].tolist() == [10, 20, 30, 40]
    assert np.flatnonzero(sheet[0, :, 3] == 0).tolist() == [*range(8, 12), *range(20, 36), *range(44, 48)]


def test_a_file_has_a_title_and_a_caption_and_no_other_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    lines = [marked(1, 2, channels=1), marked(3, channels=1)]
    made = [
        ImageGrid("filters", "The filters", "5 × 5 pixels.", lines, cell=8),
        ImageGrid("samples", "Made-up images", "Two of them.", lines, cell=8),
    ]
    write_image_grids(folder, made)
    found = read_image_grids(folder)
    assert [each.name for each in found] == ["samples", "filters"], "the filters last"
    assert (found[1].title, found[1].caption, found[1].width) == ("The filters", "5 × 5 pixels.", 20)
    with Image.open(folder / "filters.png") as image:
        assert np.array_equal(np.asarray(image), tile_images(lines, columns=2, cell=8))
        assert set(image.info) == {"Title", "Description"}
    write_image_grids(folder, made[:1])
    assert [path.name for path in folder.iterdir()] == ["filters.png"]
    assert read_image_grids(folder)[0].png == found[1].png
    assert read_image_grids(tmp_path / "nothing") == []
