"""Image statistics: correct on known images, and hashes of similar images are near."""

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from repflow.data.ingest.facts import CHUNK_PIXELS, dhash, grey, image_facts, phash
from repflow.data.store import COLUMNS

batches = st.tuples(st.integers(1, 5), st.sampled_from([1, 3])).flatmap(lambda shape: arrays(np.uint8, (*shape, 9, 9)))


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one ^ other)[0])


def test_facts_of_known_images() -> None:
    half = np.zeros((8, 8), np.uint8)
    half[:, 4:] = 200
    facts = image_facts(np.stack([np.full((8, 8), 7, np.uint8), half])[:, None])
    assert facts["brightness"].tolist() == [7, 100]
    assert facts["contrast"].tolist() == [0, 100]
    assert facts["entropy"].tolist() == [0, 1]
    assert facts["sharpness"][0] == 0
    laplacian = np.zeros((6, 6))
    laplacian[:, 2:4] = 200, -200
    assert facts["sharpness"][1] == pytest.approx(laplacian.var())
    assert facts["red"].tolist() == facts["green"].tolist() == facts["blue"].tolist() == [7, 100]
    assert facts["sha256"][0] == hashlib.sha256(bytes([7] * 64)).hexdigest()


def test_channel_means_keep_the_order_of_the_channels() -> None:
    facts = image_facts(np.stack([np.full((8, 8), value, np.uint8) for value in (10, 20, 30)])[None])
    assert (facts["red"][0], facts["green"][0], facts["blue"][0]) == (10, 20, 30)


@given(batches)
@settings(deadline=None, max_examples=50)
def test_facts_are_those_of_numpy_and_pillow(images: np.ndarray) -> None:
    facts = image_facts(images)
    for number, image in enumerate(images):
        shown = Image.fromarray(image.transpose(1, 2, 0).squeeze())
        plane = np.asarray(shown.convert("L")).astype(float)
        assert np.array_equal(grey(images)[number], plane)
        assert facts["brightness"][number] == pytest.approx(plane.mean())
        assert facts["contrast"][number] == pytest.approx(plane.std(), abs=1e-9)
        assert facts["entropy"][number] == pytest.approx(shown.convert("L").entropy())
        assert facts["sha256"][number] == hashlib.sha256(image.tobytes()).hexdigest()


@given(batches)
@settings(deadline=None, max_examples=50)
def test_facts_of_an_image_do_not_depend_on_its_neighbours(images: np.ndarray) -> None:
    together, alone = image_facts(images), image_facts(images[-1:])
    assert {name: column[-1] for name, column in together.items()} == {
        name: column[0] for name, column in alone.items()
    }


def test_many_images_are_taken_in_parts() -> None:
    images = np.random.default_rng(0).integers(0, 256, (CHUNK_PIXELS // 64**2 + 3, 1, 64, 64), dtype=np.uint8)
    facts = image_facts(images)
    assert facts["brightness"] == pytest.approx(images.mean(axis=(1, 2, 3)))
    assert len(set(facts["sha256"])) == len(images)


def test_no_images_have_no_facts_but_all_columns() -> None:
    facts = image_facts(np.zeros((0, 3, 32, 32), np.uint8))
    assert all(len(column) == 0 for column in facts.values())
    assert set(facts) <= set(COLUMNS)


def test_hashes_of_a_reencoded_image_are_near_and_of_another_far(texture: np.ndarray) -> None:
    original = Image.fromarray(texture).convert("L").resize((32, 32))
    content = io.BytesIO()
    original.save(content, "JPEG", quality=60)
    near = [
        Image.open(content),
        original.filter(ImageFilter.GaussianBlur(0.5)),
        original.point(lambda value: value * 0.9),
    ]
    far = [original.rotate(90), original.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.effect_noise((32, 32), 50)]
    for hashed in (phash, dhash):
        known = hashed(np.asarray(original)[None])
        assert max(distance(known, hashed(np.asarray(image)[None])) for image in near) <= 8
        assert min(distance(known, hashed(np.asarray(image)[None])) for image in far) >= 12


def test_blank_images_hash_alike_whatever_their_size() -> None:
    hashes = {int(phash(np.full((1, size, size), 255, np.uint8))[0]) for size in (8, 28, 32, 100)}
    assert hashes == {1 << 63}
    assert dhash(np.full((1, 28, 28), 77, np.uint8)).tolist() == [0]


def test_frequencies_that_an_image_lacks_set_no_bit() -> None:
    step = np.where(np.arange(28) < 14, 10, 77).astype(np.uint8) * np.ones((1, 28, 1), np.uint8)
    bits = np.array(list(f"{phash(step)[0]:064b}")).reshape(8, 8) == "1"
    assert bits[0, 0]
    assert not bits[1:].any()  # nothing changes from top to bottom, rounding errors must not count
    assert not bits[0, 2::2].any()  # and a step has no symmetric components


def test_the_difference_hash_is_set_where_brightness_rises() -> None:
    rising = np.tile(np.arange(0, 255, 8, dtype=np.uint8), (32, 1))[None]
    assert dhash(rising).tolist() == [2**64 - 1]
    assert dhash(rising[:, :, ::-1].copy()).tolist() == [0]
