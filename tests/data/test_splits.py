"""Splits: no leakage, one side per row, the label budget is met, and only the seed and the paths decide."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repflow.data.linked_rows import link
from repflow.data.read.rows import TRAINING, Side
from repflow.data.splits import SplitConfig, make_splits
from repflow.errors import DataError

CLASSES = ("cat", "dog", "emu")
JUDGING = {Side.VALIDATION: "validation", Side.TEST: "test"}


def manifest(rows: list[dict[str, object]], name: str = "source") -> pd.DataFrame:
    """A manifest with what a split reads; what a row does not say is missing or unlike any other row's."""
    count = len(rows)
    facts = {
        "path": [row.get("path", f"{name}/{number}") for number, row in enumerate(rows)],
        "given_class": pd.array([row.get("given_class", pd.NA) for row in rows], dtype="string"),
        "split": pd.array([row.get("split", pd.NA) for row in rows], dtype="string"),
        "group": pd.array([row.get("group", pd.NA) for row in rows], dtype="string"),
        "sha256": [row.get("sha256", f"{name}-{number}") for number, row in enumerate(rows)],
    }
    unlike = np.random.default_rng(len(name)).integers(0, 2**63, (2, count)).astype(np.uint64)
    for column, hashes in zip(("phash", "dhash"), unlike, strict=True):
        facts[column] = np.array([row.get(column, hashes[n]) for n, row in enumerate(rows)], np.uint64)
    return pd.DataFrame(facts)


def plain(per_class: int, name: str = "source", **facts: object) -> pd.DataFrame:
    return manifest([{"given_class": c, **facts} for c in CLASSES for _ in range(per_class)], name)


def nothing() -> pd.DataFrame:
    return manifest([], "target")


def config(**changes: object) -> SplitConfig:
    values = {"labels_per_class": None, "validation": 0.1, "test": 0.2, "near_duplicate_distance": 2}
    return SplitConfig(**(values | changes))  # type: ignore[arg-type]


def counts(sides: np.ndarray, classes: pd.Series) -> dict[tuple[str, str], int]:
    return pd.Series(sides).groupby([classes.to_numpy(), sides]).size().to_dict()


# What any two domains may hold: labels, groups over both domains, near and exact copies, and given splits.
row = st.fixed_dictionaries(
    {},
    optional={
        "given_class": st.sampled_from(CLASSES),
        "group": st.sampled_from([f"group {number}" for number in range(6)]),
        "sha256": st.sampled_from(["copy 1", "copy 2", "copy 3"]),
        "dhash": st.sampled_from([0x5555_5555_5555_5555, 0x5555_5555_5555_5554, 0x3333_3333_3333_3333]),
        "phash": st.sampled_from([0xFF, 0xFE, 0xFF00]),
        "split": st.sampled_from(["train", "validation", "test"]),
    },
)
without_split = row.map(lambda facts: {key: value for key, value in facts.items() if key != "split"})
rows = st.lists(row, min_size=1, max_size=60) | st.lists(without_split, min_size=1, max_size=60)


ENOUGH = [{"given_class": name} for name in CLASSES for _ in range(8)]
"""Rows that stand alone, so that the labels of every class are there."""


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    source=rows.map(lambda listed: listed + ENOUGH),
    target=rows | st.just([]),
    labels=st.none() | st.integers(1, 3),
    divide=st.booleans(),
    validation=st.floats(0, 0.25),
    test=st.floats(0, 0.25),
    within=st.booleans(),
    seed=st.integers(0, 2**31),
    shuffle=st.randoms(use_true_random=False),
)
def test_no_component_is_on_two_sides(source, target, labels, divide, validation, test, within, seed, shuffle):
    manifests = {"source": manifest(source), "target": manifest(target, "target")}
    chosen = config(
        labels_per_class=labels,
        divide_training_groups=divide,
        validation=validation,
        test=test,
        validation_within_budget=within,
    )
    from_budget = {
        name: within and labels is not None and validation > 0 and not (each["split"] == "validation").any()
        for name, each in manifests.items()
    }
    if from_budget["source"] and labels == 1:
        with pytest.raises(DataError, match="1 label per class cannot both train and choose"):
            make_splits(manifests, CLASSES, chosen, seed)
        return
    sides = make_splits(manifests, CLASSES, chosen, seed)
    both = pd.concat(list(manifests.values()), ignore_index=True)
    both["domain"] = ["source"] * len(source) + ["target"] * len(target)
    both["side"] = np.concatenate([sides["source"], sides["target"]])
    both["component"] = link(both, chosen.near_duplicate_distance)

    assert [len(sides[name]) for name in manifests] == [len(source), len(target)]
    assert set(both["side"]) <= {side.value for side in Side}
    read = both[both["side"] != Side.EXCLUDED]
    kind = read["side"].map(lambda side: JUDGING.get(side, "training"))
    assert (kind.groupby(read["component"]).nunique() == 1).all()
    if not divide:
        assert (read.groupby(["component", "domain"])["side"].nunique() == 1).all()

    held_out = both["split"].isin(["validation", "test"])
    kept = both[held_out & (both["side"] != Side.EXCLUDED)]
    assert (kept["side"] == kept["split"]).all(), "a given split is kept"
    assert (both["side"][both["split"] == "test"] == Side.TEST).all(), "a given test stays whole"
    for side in JUDGING:
        given = both[(both["side"] == side) & both["domain"].isin(both["domain"][both["split"] == side])]
        assert given["split"].eq(side).fillna(False).all(), "nothing is added to a given side"
    assert both["given_class"][both["side"] == Side.LABELLED].notna().all()

    of_source = both[both["domain"] == "source"]
    labelled = of_source[of_source["side"] == Side.LABELLED]["given_class"].value_counts()
    if labels is not None:
        choosing = of_source[of_source["side"] == Side.VALIDATION]["given_class"].value_counts()
        choosing = [choosing.get(name, 0) if from_budget["source"] else 0 for name in CLASSES]
        assert [labelled.get(name, 0) + count for name, count in zip(CLASSES, choosing, strict=True)] == [labels] * 3
        assert labelled.min() >= 1
        of_target = both[(both["domain"] == "target") & both["given_class"].notna()]
        counted = ["labelled", "validation"] if from_budget["target"] else ["labelled"]
        used = of_target[of_target["side"].isin(counted)]["given_class"].value_counts()
        assert used.empty or used.max() <= labels

    again = {}
    for name, each in manifests.items():
        order = shuffle.sample(range(len(each)), len(each))
        again[name] = (order, each.iloc[order])
    moved = make_splits({name: each for name, (_, each) in again.items()}, CLASSES, chosen, seed)
    for name, (order, _) in again.items():
        assert (moved[name] == sides[name][order]).all(), "the order of the rows decides nothing"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=3, max_size=40),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    seed=st.integers(0, 2**31),
)
def test_every_class_is_cut_to_its_share_as_far_as_whole_groups_allow(sizes, validation, test, seed):
    """Groups of one class and domain: each side within two groups of its share, and exact where there are no groups."""
    listed = [
        {"given_class": name, "group": f"{name} {number}"}
        for name in CLASSES
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    source = manifest(listed)
    try:
        sides = make_splits(
            {"source": source, "target": nothing()}, CLASSES, config(validation=validation, test=test), seed
        )
    except DataError:
        assert max(sizes) * 3 > sum(sizes), "only where a few groups are most of a class, training may miss it"
        return
    total, largest = sum(sizes), max(sizes)
    found = counts(sides["source"], source["given_class"])
    slack = 0 if largest == 1 else 2 * largest
    for name in CLASSES:
        for side, share in ((Side.VALIDATION, validation), (Side.TEST, test)):
            assert abs(found.get((name, side), 0) - max(1, np.rint(share * total))) <= slack + 1


def test_plain_images_are_cut_to_the_exact_shares_and_budget():
    source, target = plain(50), plain(40, "target")
    chosen = config(labels_per_class=7, validation_within_budget=False)
    sides = make_splits({"source": source, "target": target}, CLASSES, chosen, 0)
    for name in CLASSES:
        assert counts(sides["source"], source["given_class"])[name, Side.TEST] == 10
    assert pd.Series(sides["source"]).value_counts().to_dict() == {
        "unlabelled": 84,
        "test": 30,
        "labelled": 21,
        "validation": 15,
    }
    assert pd.Series(sides["target"]).value_counts().to_dict() == {
        "unlabelled": 63,
        "test": 24,
        "labelled": 21,
        "validation": 12,
    }


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    manifests = {"source": plain(50), "target": nothing()}
    first, again, other = (make_splits(manifests, CLASSES, config(), seed)["source"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_new_images_leave_most_of_the_others_where_they_were():
    more = plain(50)
    fewer = more.drop(index=[3, 60, 120])
    before = make_splits({"source": fewer, "target": nothing()}, CLASSES, config(), 0)["source"]
    after = make_splits({"source": more, "target": nothing()}, CLASSES, config(), 0)["source"][fewer.index]
    assert (before != after).sum() <= 6


def test_given_splits_are_kept_and_only_what_they_lack_is_cut():
    source = pd.concat([plain(20, "a", split="train"), plain(10, "b", split="test")], ignore_index=True)
    sides = make_splits({"source": source, "target": nothing()}, CLASSES, config(), 0)["source"]
    assert (sides[60:] == Side.TEST).all()
    assert pd.Series(sides[:60]).value_counts().to_dict() == {"labelled": 54, "validation": 6}


def test_a_copy_of_a_given_test_image_is_excluded_from_training_and_from_the_other_domain():
    source = pd.concat([plain(20, "a", split="train"), plain(10, "b", split="test")], ignore_index=True)
    target = plain(20, "target")
    source.loc[0, "sha256"] = source.loc[60, "sha256"]  # a training image is a test image
    target.loc[5, "sha256"] = source.loc[61, "sha256"]  # and another test image is in the target, which gives no split
    sides = make_splits({"source": source, "target": target}, CLASSES, config(), 0)
    assert sides["source"][0] == Side.EXCLUDED
    assert (sides["source"][60:] == Side.TEST).all()
    assert sides["target"][5] == Side.TEST
    assert (sides["target"] == Side.TEST).sum() == 12, "it counts towards the target's share"


def test_groups_over_both_domains_never_add_to_a_given_test():
    groups = pd.array([f"group {number}" for number in range(60)], dtype="string")
    train, target = plain(20, "a", split="train"), plain(40, "target")
    train["group"] = groups
    target["group"] = groups.repeat(2)
    source = pd.concat([train, plain(10, "b", split="test")], ignore_index=True)
    sides = make_splits({"source": source, "target": target}, CLASSES, config(test=0.45), 0)
    assert (sides["source"] == Side.TEST).sum() == 30


def test_large_groups_are_placed_first_so_that_small_ones_even_out():
    sizes = {"large": 4, **{f"small {number}": 2 for number in range(6)}}
    source = manifest([{"given_class": "cat", "group": name} for name, size in sizes.items() for _ in range(size)])
    chosen = config(validation=0.0, test=0.25)
    for seed in range(100):
        sides = make_splits({"source": source, "target": nothing()}, ("cat",), chosen, seed)["source"]
        assert (sides == Side.TEST).sum() == 4


def test_a_given_validation_wins_over_training_and_the_test_over_both():
    source = manifest(
        [{"given_class": name, "split": "train"} for name in CLASSES for _ in range(9)]
        + [{"given_class": "cat", "split": split, "group": "g"} for split in ("train", "validation", "test")]
        + [{"given_class": "cat", "split": split, "group": "h"} for split in ("train", "validation")]
    )
    sides = make_splits({"source": source, "target": nothing()}, CLASSES, config(), 0)["source"]
    assert sides[27:].tolist() == ["excluded", "excluded", "test", "excluded", "validation"]


def test_images_without_a_label_are_unlabelled_unless_a_given_split_or_their_group_says_otherwise():
    source = pd.concat([plain(20), manifest([{}] * 9 + [{"split": "test"}], "more")], ignore_index=True)
    source.loc[:59, "split"] = "train"
    sides = make_splits({"source": source, "target": manifest([{}] * 5, "target")}, CLASSES, config(), 0)
    assert sides["source"][60:].tolist() == ["unlabelled"] * 9 + ["test"]
    assert sides["target"].tolist() == ["unlabelled"] * 5


def test_target_classes_that_the_source_lacks_count_as_unlabelled():
    target = manifest([{"given_class": "yak"}] * 30, "target")
    sides = make_splits({"source": plain(20), "target": target}, CLASSES, config(), 0)
    assert set(sides["target"]) == {"unlabelled"}


def test_the_budget_takes_images_without_copies_first_and_excludes_the_rest_of_a_divided_group():
    copies = [{"given_class": "cat", "group": "cats"}] * 8
    source = manifest(copies + [{"given_class": name} for name in CLASSES for _ in range(3)])
    chosen = config(validation=0.0, test=0.0)
    sides = make_splits({"source": source, "target": nothing()}, CLASSES, SplitConfig(3, 0.0, 0.0, 2), 0)["source"]
    assert sides.tolist() == ["unlabelled"] * 8 + ["labelled"] * 9
    many = pd.concat([source, manifest([{"given_class": name} for name in ("dog", "emu") for _ in range(2)], "more")])
    for divide, rest in ((False, Side.EXCLUDED), (True, Side.UNLABELLED)):
        chosen = SplitConfig(5, 0.0, 0.0, 2, divide_training_groups=divide)
        sides = make_splits({"source": many, "target": nothing()}, CLASSES, chosen, 0)["source"]
        assert pd.Series(sides[:8]).value_counts().to_dict() == {rest.value: 6, "labelled": 2}


def test_a_target_with_fewer_labels_than_the_budget_is_accepted():
    target = manifest([{"given_class": "cat"}] * 4 + [{}] * 20, "target")
    sides = make_splits({"source": plain(40), "target": target}, CLASSES, config(labels_per_class=10, test=0.0), 0)
    assert (sides["target"] == Side.LABELLED).sum() == 3


def test_a_budget_above_the_available_labels_is_refused_with_the_class_and_both_numbers():
    source = plain(20).drop(index=range(4))
    for within, there in ((True, 13), (False, 11)):
        chosen = config(labels_per_class=14, validation_within_budget=within)
        said = rf"labels_per_class: 14 .* source 'cat' has {there}; lower it to {there} or less"
        with pytest.raises(DataError, match=said):
            make_splits({"source": source, "target": nothing()}, CLASSES, chosen, 0)


def test_an_empty_class_cannot_fill_a_budget():
    with pytest.raises(DataError, match="'fox' has 0; add training images"):
        make_splits({"source": plain(20), "target": nothing()}, (*CLASSES, "fox"), config(labels_per_class=2), 0)


def test_a_test_class_without_training_images_is_refused():
    source = plain(20, split="train")
    source.loc[source["given_class"] == "dog", "split"] = "test"
    with pytest.raises(DataError, match="source: class 'dog' has 20 images in the test split but no labelled image"):
        make_splits({"source": source, "target": nothing()}, CLASSES, config(), 0)


def test_a_target_class_without_source_images_is_refused():
    source = plain(20)[lambda rows: rows["given_class"] != "emu"]
    with pytest.raises(DataError, match="target: class 'emu'"):
        make_splits({"source": source, "target": plain(20, "target")}, CLASSES, config(), 0)


def test_a_source_without_labels_is_refused():
    with pytest.raises(DataError, match="source: no image has a label"):
        make_splits({"source": manifest([{}] * 9), "target": plain(20, "target")}, CLASSES, config(), 0)


def test_a_group_means_the_same_in_both_domains():
    source, target = plain(30), plain(30, "target")
    for each in (source, target):
        each["group"] = pd.array([f"patient {number % 30}" for number in range(90)], dtype="string")
    sides = make_splits({"source": source, "target": target}, CLASSES, config(), 3)
    for patient in range(30):
        both = set(sides["source"][patient::30]) | set(sides["target"][patient::30])
        assert len(both & {"validation", "test"} | ({"training"} if both & set(TRAINING) else set())) == 1


@pytest.mark.parametrize(
    ("budget", "share", "choosing"), [(2, 0.1, 1), (5, 0.1, 1), (10, 0.1, 1), (20, 0.1, 2), (10, 0.3, 3), (3, 0.49, 1)]
)
def test_a_share_of_the_budget_chooses_and_every_further_image_is_unlabelled(budget, share, choosing):
    source, target = plain(50), plain(40, "target")
    chosen = config(labels_per_class=budget, validation=share)
    sides = make_splits({"source": source, "target": target}, CLASSES, chosen, 0)
    for name, manifest_of, per_class, tested in (("source", source, 50, 10), ("target", target, 40, 8)):
        found = counts(sides[name], manifest_of["given_class"])
        for label in CLASSES:
            assert found[label, Side.VALIDATION] == choosing
            assert found[label, Side.LABELLED] == budget - choosing
            assert found[label, Side.TEST] == tested
            assert found[label, Side.UNLABELLED] == per_class - tested - budget


def test_a_given_validation_split_is_kept_and_is_beside_the_budget():
    source = pd.concat([plain(20, "a", split="train"), plain(6, "b", split="validation")], ignore_index=True)
    source.loc[0, "split"] = pd.NA
    sides = make_splits({"source": source, "target": nothing()}, CLASSES, config(labels_per_class=10), 0)["source"]
    assert (sides[60:] == Side.VALIDATION).all()
    assert (sides[:60] == Side.LABELLED).sum() == 30
    one = make_splits({"source": source, "target": nothing()}, CLASSES, config(labels_per_class=1), 0)["source"]
    assert (one[:60] == Side.LABELLED).sum() == 3, "what chooses is there already"


def test_a_budget_of_one_label_is_refused_unless_validation_is_beside_it():
    manifests = {"source": plain(20), "target": nothing()}
    with pytest.raises(DataError, match=r"set it to 2 or more.*split\.validation_within_budget=false"):
        make_splits(manifests, CLASSES, config(labels_per_class=1), 0)
    beside = config(labels_per_class=1, validation_within_budget=False)
    assert (make_splits(manifests, CLASSES, beside, 0)["source"] == Side.LABELLED).sum() == 3


def test_every_label_counts_without_a_budget_with_few_images_and_with_many_classes():
    for per_class, number in ((30, 2), (30, 300), (5, 300)):
        classes = tuple(f"class {each:03}" for each in range(number))
        source = manifest([{"given_class": name} for name in classes for _ in range(per_class)])
        sides = make_splits({"source": source, "target": nothing()}, classes, config(), 0)["source"]
        assert not (sides == Side.UNLABELLED).any()
        found = counts(sides, source["given_class"])
        for name in classes:
            assert found[name, Side.TEST] == max(1, round(0.2 * per_class))
            assert found[name, Side.VALIDATION] == max(1, round(0.1 * per_class))


def test_imbalance_of_a_hundred_to_one_keeps_every_class_on_every_side():
    sizes = {"cat": 1000, "dog": 100, "emu": 10}
    source = manifest([{"given_class": name} for name, size in sizes.items() for _ in range(size)])
    for budget, choosing, training in ((None, 1, 7), (8, 1, 7), (6, 1, 5)):
        sides = make_splits({"source": source, "target": nothing()}, CLASSES, config(labels_per_class=budget), 0)
        found = counts(sides["source"], source["given_class"])
        assert (found["emu", Side.VALIDATION], found["emu", Side.LABELLED]) == (choosing, training)
        assert found["emu", Side.TEST] == 2
    with pytest.raises(DataError, match="'emu' has 8; lower it to 8 or less"):
        make_splits({"source": source, "target": nothing()}, CLASSES, config(labels_per_class=9), 0)


@pytest.mark.parametrize("divide", [False, True])
def test_where_every_image_has_copies_whole_groups_leave_training_for_validation(divide):
    groups = [(name, f"{name} {number}") for name in CLASSES for number in range(20)]
    source = manifest([{"given_class": name, "group": group} for name, group in groups for _ in range(4)])
    chosen = config(labels_per_class=10, validation=0.2, divide_training_groups=divide)
    sides = make_splits({"source": source, "target": nothing()}, CLASSES, chosen, 0)["source"]
    found = counts(sides, source["given_class"])
    for name in CLASSES:
        assert found[name, Side.VALIDATION] == 2
        assert found[name, Side.LABELLED] == 8
    by_group = pd.Series(sides).groupby(source["group"].to_numpy()).agg(set)
    assert all(each == {"validation", "excluded"} for each in by_group if "validation" in each)


def test_copies_in_the_target_of_what_chooses_are_in_no_training():
    source, target = plain(12), plain(40, "target")
    source["group"] = pd.array([f"g{number}" for number in range(36)], dtype="string")  # each has a copy in the target
    target.loc[:35, "group"] = source["group"].to_numpy()
    sides = make_splits({"source": source, "target": target}, CLASSES, config(labels_per_class=5), 0)
    choosing = source["group"][sides["source"] == Side.VALIDATION]
    assert len(choosing) == 3
    copies = target["group"].isin(choosing).to_numpy()
    assert not (set(sides["target"][copies]) & set(TRAINING))


def test_validation_rows_that_the_other_domain_gives_count_as_labels_of_the_budget():
    source, target = plain(30), plain(30, "target", split="train")
    source["group"] = pd.array([f"g{number}" for number in range(90)], dtype="string")
    target["group"] = source["group"]
    target.loc[list(range(0, 90, 3)), "split"] = "validation"  # ten of each class, and their copies in the source
    sides = make_splits({"source": source, "target": target}, CLASSES, config(labels_per_class=6), 0)["source"]
    found = counts(sides, source["given_class"])
    for name in CLASSES:
        assert (found[name, Side.VALIDATION], found[name, Side.LABELLED]) == (1, 5)
    assert set(sides[np.arange(0, 90, 3)]) == {"validation", "excluded"}
