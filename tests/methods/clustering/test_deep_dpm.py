"""DeepDPM: losses against naive loops, and splits and merges until the clusters are those of the data."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from repflow.data.read.batches import Batch, Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import EncoderConfig, build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import Encoder
from repflow.encoders.pretrained import fill
from repflow.errors import ParameterError
from repflow.evaluation.clustering import clustering_accuracy
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.clustering.deep_dpm import Config, DeepDPM
from repflow.methods.pretext.simclr import Config as SimCLRConfig
from repflow.methods.pretext.simclr import SimCLR
from repflow.randomness.draws import Draw, seeded
from repflow.schema import build
from repflow.training import TrainingConfig, TrainingResult, train
from repflow.training.checkpoints import CheckpointConfig, CheckpointLocation, Checkpoints
from repflow.training.contract import Method

FIVE = np.array([[60, 60], [200, 60], [60, 200], [200, 200], [130, 130]])
LABELS = np.arange(600) % 5
BLOBS = np.clip(FIVE[LABELS] + Draw(0, "blobs").normal(600, 2).numpy() * 9, 0, 255).astype(np.uint8)
ROWS = Rows(BLOBS.reshape(600, 1, 1, 2), np.full(600, -1), np.arange(600), ("any",))
"""Images of two pixels, which are their own features."""
IMAGES = torch.from_numpy(ROWS.images) / 255


def method(kind: type[DeepDPM] = DeepDPM, seed: int = 0, **settings: Any) -> DeepDPM:
    values = {"embedding": 0.0, "batch": 256, "hidden": 32, "decoder": [4], **settings}
    with seeded(seed, "weights"):
        return kind(build(Config, values, "settings"), Encoder(nn.Flatten(), 2, 1))


def run(made: Method, steps: int, seed: int = 0, rows: Rows = ROWS, **given: Any) -> TrainingResult:
    optimizer = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.0}
    values = {"steps": steps, "batch_size": 8, "log_every": 1, "optimizer": optimizer}
    config = build(TrainingConfig, {**values, "schedule": {"name": "constant"}}, "training")
    return train(made, {"unlabelled": rows}, config, prepare(HardwareConfig(threads=1)), seed=seed, **given)


def clustered(labels: np.ndarray) -> tuple[DeepDPM, Tensor]:
    """A method whose clusters and their Gaussians are those of `labels`, and its codes."""
    made = method()
    features = made.encoder(IMAGES)
    made._fit_principal_components(features)
    codes = (features - made.centre) @ made.directions
    given = torch.from_numpy(labels)
    with torch.no_grad(), seeded(0, "clusters"):
        made.network._set_clusters(made.network._new_cluster(codes, given == each) for each in given.unique())
    made._codes = codes
    return made, codes


def test_the_number_of_clusters_is_found() -> None:
    for seed in range(2):
        made = method(seed=seed)
        curve = run(made, steps=250, seed=seed).curve
        assert curve[0]["clusters"] == 1
        found = made.assign(IMAGES)
        assert found.dtype == torch.int64
        assert len(found.unique()) == len(made.network) == 5
        assert clustering_accuracy(LABELS, found.numpy()) > 0.97


def test_the_losses_equal_a_loop_over_codes() -> None:
    made, codes = clustered(LABELS // 2)
    found = made.cluster(Draw(0, "step")).item()
    rows = Draw(0, "step").stream("codes").integers(256, high=600)
    divergence = apart = 0.0
    for code in codes[rows]:
        with torch.no_grad():
            shares = made.network(code[None])[0].double().softmax(0).numpy()
        point = code.double().numpy()
        joint = [
            float(each.share) * multivariate_normal.pdf(point, each.mean.double(), each.covariance.double())
            for each in made.network.each()
        ]
        expected = np.array(joint) / sum(joint)
        divergence += float((expected * np.log(np.maximum(expected, 1e-300) / shares)).sum())
        own = made.network.each()[int(shares.argmax())]
        subclusters = made.network.subclusters[int(shares.argmax())]
        sides = subclusters(code[None])[0].detach().double().softmax(0).numpy()
        apart += float(
            sum(s * ((point - h.double().numpy()) ** 2).sum() for s, h in zip(sides, own.subcluster_means, strict=True))
        )
    assert found == pytest.approx((divergence + apart) / 256, rel=1e-4)


def test_overlapping_clusters_are_merged_and_separate_ones_are_not() -> None:
    halves = np.where(LABELS == 4, 4 + (np.arange(600) % 2), LABELS)
    made, codes = clustered(halves)
    logits = torch.full((600, 6), -9.0).scatter(1, torch.from_numpy(halves)[:, None], 9.0)
    made.network.forward = lambda codes: logits  # type: ignore[method-assign]
    with torch.no_grad():
        made.network.merge(codes, Draw(0, "merge"))
    assert len(made.network) == 5
    centres = np.sort([float(each.share) for each in made.network.each()])
    assert centres == pytest.approx(np.full(5, 121 / 600))


def test_a_cluster_is_no_neighbour_of_its_own_where_means_coincide() -> None:
    made, codes = clustered(LABELS)
    logits = torch.full((600, 5), -9.0).scatter(1, torch.from_numpy(LABELS)[:, None], 9.0)
    made.network.forward = lambda codes: logits  # type: ignore[method-assign]
    weighed: list[int] = []

    def ratio(codes: Tensor, first: Tensor, second: Tensor) -> float:
        weighed.append(int((first & second).sum()))
        return 1e9

    made.network._ratio = ratio  # type: ignore[method-assign]
    for cluster in made.network.each():
        cluster.mean.zero_()
    with torch.no_grad():
        made.network.merge(codes, Draw(0, "merge"))
    assert weighed == [0] * 9


def test_the_order_of_subclusters_does_not_depend_on_the_last_digits_of_the_codes() -> None:
    """An eigenvector may point to either side; its largest component is to be positive."""
    network = method().network
    everyone = torch.ones(600, dtype=torch.bool)
    for seed in range(20):
        draw = Draw(seed, "codes")
        turned, _ = torch.linalg.qr(draw.normal(2, 2))
        codes = draw.stream("heap").normal(600, 2) * torch.tensor([3.0, 1.0]) @ turned
        with torch.no_grad():
            low, high = network._new_cluster(codes, everyone)[0].subcluster_means
        axis = high - low
        assert axis[axis.abs().argmax()] > 0


def test_the_autoencoder_reconstructs_masked_pixels() -> None:
    made = method(embedding=0.5, lost=0.5)
    made.encoder = build_encoder(SmallConfig(widths=(8, 2)), 1, 8)
    seen: list[Tensor] = []
    made.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    images = Draw(0, "images").uniform(4, 1, 8, 8, low=0.2, high=0.8)
    batch = Batch(images, torch.full((4,), -1), torch.arange(4))
    loss = made.losses(Batches({"unlabelled": batch}, 0.0), Draw(0, "step")).total
    kept = seen[0] != 0
    assert 0.3 < kept.float().mean() < 0.7
    assert torch.equal(seen[0][kept], images[kept])
    assert made.decoder is not None
    restored = made.decoder(made.encoder(seen[0]), (8, 8))
    naive = sum(((a - b) ** 2).double().sum().item() for a, b in zip(restored, images, strict=True)) / 256
    assert loss.item() == pytest.approx(naive, rel=1e-5)


def test_the_encoder_is_trained_first_and_then_frozen() -> None:
    made = method(embedding=0.5, every=2)
    with seeded(0, "weights"):
        made.encoder = build_encoder(SmallConfig(widths=(4, 2)), 1, 8)
    images = Draw(0, "images").integers(40, 1, 8, 8, high=256).to(torch.uint8).numpy()
    rows = Rows(images, np.full(40, -1), np.arange(40), ("any",))
    states: list[dict[str, Tensor]] = []
    made.after_step = lambda: states.append({k: v.clone() for k, v in made.encoder.state_dict().items()})  # type: ignore[method-assign]
    curve = run(made, steps=12, rows=rows).curve
    moved = [any(not torch.equal(one[name], two[name]) for name in one) for one, two in itertools.pairwise(states)]
    clusters = [point["clusters"] for point in curve]
    first = next(number for number, count in enumerate(clusters) if count)
    assert 6 <= first <= 8
    assert moved == [number + 1 < first for number in range(11)]


class Stopping(DeepDPM):
    """One that is interrupted."""

    stop_at: int | None = None

    def refresh(self, step: int, streams: Any, draw: Draw) -> None:
        if step == self.stop_at:
            raise KeyboardInterrupt
        super().refresh(step, streams, draw)


def test_a_resumed_training_has_the_clusters_of_its_checkpoint(tmp_path: Path) -> None:
    settings = {"every": 5, "moves": 1}
    undisturbed, stopped, again = (method(Stopping, **settings) for _ in range(3))
    expected = run(undisturbed, steps=40)
    assert len({point["clusters"] for point in expected.curve}) >= 3

    def checkpoints() -> Checkpoints:
        return Checkpoints(CheckpointLocation(tmp_path / "train", "key"), CheckpointConfig(every_steps=1))

    assert isinstance(stopped, Stopping)
    stopped.stop_at = 23
    with pytest.raises(KeyboardInterrupt):
        run(stopped, steps=40, checkpoints=checkpoints())
    assert run(again, steps=40, checkpoints=checkpoints()) == expected
    assert again.state_dict().keys() == undisturbed.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in undisturbed.state_dict().items())


def test_assignment_without_clusters_is_an_error() -> None:
    with pytest.raises(ParameterError, match="the whole training was spent on the embedding"):
        method().assign(IMAGES)


def test_codes_of_a_stream_equal_those_of_its_images() -> None:
    made = method()
    with torch.no_grad():
        made.refresh(0, {"unlabelled": Stream("unlabelled", ROWS)}, Draw(0, "refresh"))
        assert made._codes is not None
        assert torch.allclose(made.encode(IMAGES), made._codes, atol=1e-5)
        assert made._codes.var(dim=0).mean().item() == pytest.approx(1, rel=0.01)


def gaussians(network: nn.Module) -> dict[str, Tensor]:
    """The buffers of all clusters: their Gaussians and the means of their subclusters."""
    return {name: value.clone() for name, value in network.named_buffers()}


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() != other.keys() or any(not torch.equal(value, other[name]) for name, value in one.items())


class Noting(DeepDPM):
    """One that notes, before every step of the clustering, its Gaussians and clusters."""

    def refresh(self, step: int, streams: Any, draw: Draw) -> None:
        super().refresh(step, streams, draw)
        self.noted = [*getattr(self, "noted", []), (list(self.network.clusters), gaussians(self.network))]


def test_gaussians_and_subclusters_are_held_after_a_move_and_estimated_until_the_next() -> None:
    """Moves in the steps 0, 16 and 32; estimates in 8, 10, ..., 16, and in 24, 26, ..., 32."""
    made = method(Noting, every=2, moves=8, hold=3)
    run(made, steps=44)
    assert isinstance(made, Noting)
    steps = made.noted
    assert len(steps) == 44
    moved = [step for step in range(1, 44) if steps[step][0] != steps[step - 1][0]]
    assert set(moved) <= {16, 32}
    assert 16 in moved, "no cluster was split"
    changed = [step for step in range(1, 44) if differ(steps[step][1], steps[step - 1][1])]
    assert changed == [8, 10, 12, 14, 16, 24, 26, 28, 30, 32, 40, 42]


def test_a_subclustering_network_divides_its_cluster_before_it_is_asked() -> None:
    """The halves of a new cluster are on both sides of its mean; an untrained network would bring them together."""
    made = method(every=2, moves=10, hold=5)
    run(made, steps=19)  # 18 steps after the first cluster was made; estimates in the steps 12 to 18
    (cluster,) = made.network.each()
    low, high = cluster.subcluster_means
    apart = (high - low).norm() / cluster.covariance.diagonal().sum().rsqrt().reciprocal()
    assert apart > 1

    hasty = method(every=5, moves=2, hold=0)
    run(hasty, steps=6)
    (cluster,) = hasty.network.each()
    low, high = cluster.subcluster_means
    assert (high - low).norm() / cluster.covariance.diagonal().sum().rsqrt().reciprocal() < apart / 2


def test_a_cluster_with_an_empty_half_is_divided_anew() -> None:
    made, codes = clustered(LABELS // 5)
    ((cluster, subclusters),) = made.network.pairs()
    with torch.no_grad():
        cluster.subcluster_means.zero_()
        subclusters[-1].bias.copy_(torch.tensor([9.0, -9.0]))
        made.network.m_step(codes)
    lengths, axes = np.linalg.eigh(np.cov(codes.numpy().T, bias=True))
    apart = (cluster.subcluster_means[1] - cluster.subcluster_means[0]).numpy()
    assert np.linalg.norm(apart) == pytest.approx(2 * np.sqrt(lengths[-1]), rel=0.02)
    assert abs(axes[:, -1] @ apart) == pytest.approx(np.linalg.norm(apart), rel=1e-3)


def test_all_codes_count_without_a_limit_of_evidence() -> None:
    ratios = [clustered(LABELS)[0], clustered(LABELS)[0]]
    ratios[1].network.evidence = 600
    half = torch.arange(600) < 300
    codes = ratios[0]._codes
    assert codes is not None
    found = [each.network._ratio(codes, half, ~half) for each in ratios]
    assert found[0] == found[1]
    ratios[1].network.evidence = 300
    assert ratios[1].network._ratio(codes, half, ~half) != found[0]


def test_subclustering_networks_have_a_rate_of_their_own() -> None:
    made = method(every=2)
    optimizer = {"name": "sgd", "learning_rate": 0.01, "modules": {"network.subclusters": {"factor": 0}}}
    values = {"steps": 3, "batch_size": 8, "log_every": 1, "optimizer": optimizer}
    stopped: list[Tensor] = []
    made.after_step = lambda: stopped.append(made.network.subclusters[0][0].weight.clone())
    before = made.network.trunk[0].weight.clone()
    train(
        made,
        {"unlabelled": ROWS},
        build(TrainingConfig, values, "training"),
        prepare(HardwareConfig(threads=1)),
        seed=0,
    )
    assert torch.equal(stopped[0], stopped[-1])
    assert not torch.equal(before, made.network.trunk[0].weight)


SIMCLR = {"name": "simclr", "settings": {"augment": [], "temperature": 0.2, "hidden": 8, "projection": 4}}
PHOTOS = Rows(
    Draw(0, "images").integers(40, 1, 8, 8, high=256).to(torch.uint8).numpy(),
    np.full(40, -1),
    np.arange(40),
    ("any",),
)


def small() -> Encoder:
    with seeded(0, "weights"):
        return build_encoder(SmallConfig(widths=(4, 8)), 1, 8)


def test_the_encoder_may_be_trained_by_another_method() -> None:
    """For the first half of the steps it is trained as SimCLR trains it, with the same losses."""
    with seeded(1, "heads"):
        alone = SimCLR(build(SimCLRConfig, SIMCLR["settings"], "settings"), small())
    with seeded(1, "heads"):
        made = DeepDPM(build(Config, {"embedding": 0.5, "pretext": SIMCLR, "batch": 16}, "settings"), small())
    losses = [run(each, steps=12, rows=PHOTOS).curve for each in (alone, made)]
    clusters = [point["clusters"] for point in losses[1]]
    first = next(number for number, count in enumerate(clusters) if count)
    assert 6 <= first <= 8
    assert [each["loss"] for each in losses[0][:first]] == [each["loss"] for each in losses[1][:first]]
    assert made.assign(torch.from_numpy(PHOTOS.images) / 255).shape == (40,)
    assert not any(weight.requires_grad for weight in made.encoder.parameters())
    assert made.figures(torch.rand(2, 1, 8, 8)).shape[1] == len(made.columns) == 1


def test_a_pretext_method_has_one_update_and_no_labels() -> None:
    with pytest.raises(ParameterError, match=r"settings\.pretext\.gan: needs several updates per step"):
        method(pretext={"name": "gan", "settings": {}})
    with pytest.raises(ParameterError, match=r"pretext\.simcrl: there is no method"):
        method(pretext={"name": "simcrl"})


def test_an_encoder_that_others_trained_may_stay_as_it_is(tmp_path: Path) -> None:
    """Weights from a file: `embedding: 0` finds clusters of its features and does not train it."""
    file = tmp_path / "weights.safetensors"
    values = {"name": "timm", "model": "test_resnet", "weights": str(file), "size": 16}
    config: Any = build(EncoderConfig, values, "encoder")
    torch.manual_seed(0)
    weights = {name: value.contiguous() for name, value in timm.create_model("test_resnet").state_dict().items()}
    save_file(weights, file)
    encoder = build_encoder(config, 1, 8)
    fill(encoder, config)
    with seeded(0, "weights"):
        made = DeepDPM(build(Config, {"embedding": 0.0, "batch": 16}, "settings"), encoder)
    curve = run(made, steps=3, rows=PHOTOS).curve
    assert curve[0]["clusters"] == 1
    kept = made.encoder.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in kept.items() if name in weights)
    assert "conv1.0.weight" in kept
