"""Bag of visual words: predict from a perturbed image the histogram of visual words of the clean image.

Gidaris, Bursuc, Komodakis, Pérez, Cord. Learning Representations by Predicting Bags of Visual Words. CVPR 2020; words
are counted softly as in Gidaris et al. OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised Learning.
CVPR 2021.
"""

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.encoders.encoder import WITH_MAPS, Pooled
from repflow.encoders.layer_features import outputs, widths
from repflow.errors import ParameterError
from repflow.hardware.portable_math import squared_distances
from repflow.methods.parts.kmeans import kmeans
from repflow.methods.parts.shared_encoder import with_shared_encoder
from repflow.methods.pretext import rotation
from repflow.randomness.draws import Draw
from repflow.randomness.seeds import derive_seed
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses

_ANY_SIZE = 64
"""Pixels of an image from which the channels of a layer are counted; they do not depend on it."""
SMALLEST_SPREAD = 0.01
"""In variances of the local features. With about as many words as local features, the mean squared distance to the
nearest word is about 0, and rounding errors divided by it would decide the soft assignment."""
SAME_SHARE = 1e-4
"""Difference of shares up to which two words are equally frequent in an image, which is common with few positions."""


@parameters
class Config:
    """The parameters of the bag of visual words.

    Attributes:
        augment: augmentation policy of the clean image, and of the rotated images in the first phase.
        perturb: augmentation policy of the perturbed image, applied to the clean image.
        bootstrap: fraction of training spent on rotation prediction, before the vocabulary is built.
        words: size of the vocabulary.
        images: number of images whose feature maps are clustered to the vocabulary.
        softness: temperature of the soft assignment, in units of the mean squared distance to the nearest word.
        layer: of the bootstrap network, whose maps the words are made of: 1 for the last one, 2 for the one before it.
            The last one knows more of the rotation than of the image.
    """

    perturb: PolicyConfig
    augment: PolicyConfig = ()
    bootstrap: Fraction = 0.4
    words: Count = 2048
    images: Count = 4096
    softness: Positive = 0.1
    layer: Count = 1


class BagOfVisualWords(EncoderMethod):
    """The encoder with a rotation head in the first phase, and with a head for words in the second.

    The encoder at the end of the first phase becomes the frozen bootstrap network, which provides the targets. Training
    continues from its weights, whereas the paper starts from scratch.

    Attributes:
        has_words: whether the first phase is over.
    """

    streams = ("unlabelled",)
    vocabulary: Tensor
    spread: Tensor
    progress: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if not isinstance(encoder.body, Pooled):
            raise ParameterError(f"encoder: bag_of_visual_words needs feature maps: {WITH_MAPS}")
        self.config = config
        self.augment, self.perturb = Policy(config.augment), Policy(config.perturb)
        self.rotation = with_shared_encoder(rotation.Rotation, rotation.Config(config.augment), encoder)
        self.bootstrap = copy.deepcopy(encoder).requires_grad_(False)
        self.head = nn.Linear(encoder.width, config.words, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(10.0))  # the paper's γ
        self.register_buffer("vocabulary", torch.zeros(config.words, self._channels()))
        self.register_buffer("spread", torch.zeros(()))  # mean squared distance to the nearest word; 0 before words
        self.register_buffer("progress", torch.zeros(()))  # fraction of training done
        # Both as the host knows them: to ask a GPU, a step would have to wait for it.
        self.has_words, self._done = False, 0.0
        self._freeze_by_phase()

    def _channels(self) -> int:
        """The number of channels of the maps that the words are made of."""
        if self.config.layer == 1:
            return self.encoder.width
        found = widths(self.bootstrap, _ANY_SIZE, grid=1)
        if self.config.layer > len(found):
            raise ParameterError(f"settings.layer: the encoder has {len(found)} layers, not {self.config.layer}")
        return found[-self.config.layer]

    def _freeze_by_phase(self) -> None:
        """Freeze the heads that are not trained in this phase."""
        self.rotation.requires_grad_(not self.has_words)
        self.head.requires_grad_(self.has_words)
        self.sharpness.requires_grad_(self.has_words)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the state and its phase."""
        keys = super().load_state_dict(state_dict, strict, assign)
        self.has_words, self._done = bool(self.spread > 0), float(self.progress)
        self._freeze_by_phase()
        return keys

    def train(self, mode: bool = True) -> Self:
        """The bootstrap network stays in evaluation mode."""
        super().train(mode)
        self.bootstrap.eval()
        return self

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """After the first phase, copy the encoder to the frozen bootstrap network and build the vocabulary."""
        if not self.has_words and self._done >= self.config.bootstrap:
            self.bootstrap.load_state_dict(self.encoder.state_dict())
            self.build_vocabulary(streams["unlabelled"], draw)
            self._freeze_by_phase()

    def build_vocabulary(self, stream: Stream, draw: Draw) -> None:
        """The words are the centres of k-means on the feature maps of some images, place by place."""
        rows = draw.permutation(len(stream))[: self.config.images].cpu()
        places = torch.cat([self.local_features(stream.take(part).images).flatten(0, 1) for part in rows.split(512)])
        seed = derive_seed(draw.seed, draw.name, draw.step) % 2**32
        found = kmeans(places.cpu().numpy(), self.config.words, seed, iterations=50)
        if found.n_clusters < self.config.words:
            message = f"{self.config.words} are too many; there are {found.n_clusters} different local features"
            raise ParameterError(f"settings.words: {message}")
        self.vocabulary.copy_(torch.from_numpy(found.cluster_centers_))
        variance = places.var(dim=0, correction=0).sum().item()
        self.spread.fill_(max(found.inertia_ / len(places), SMALLEST_SPREAD * variance))
        self.has_words = bool(self.spread > 0)

    def local_features(self, images: Tensor) -> Tensor:
        """The bootstrap network's local features, one per position of its layer's maps: [B, h x w, channels]."""
        last = self.config.layer == 1
        maps = self.bootstrap.maps(images) if last else outputs(self.bootstrap, images)[-self.config.layer]
        return maps.flatten(2).transpose(1, 2)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of rotation prediction in the first phase, with the histogram of words in the second."""
        self.progress.fill_(batch.progress)
        self._done = batch.progress
        if not self.has_words:
            return self.rotation.losses(batch, draw)
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        with torch.no_grad():
            histogram = self.histogram(self.local_features(images))  # [B, words]
        features = self.encoder(self.perturb(images, draw.stream("perturb")))  # [B, width]
        logits = self.sharpness * F.linear(F.normalize(features), F.normalize(self.head.weight))  # [B, words]
        share = histogram.gather(1, logits.argmax(dim=1, keepdim=True))[:, 0]  # of the predicted word [B]
        right = (share >= histogram.amax(dim=1) - SAME_SHARE).float().mean()  # the same name as for rotations
        return Losses(F.cross_entropy(logits, histogram), {"accuracy": right})

    def histogram(self, places: Tensor) -> Tensor:
        """How much of each word is in the places [B, P, channels] of an image: [B, words], every row sums to 1."""
        centre = self.vocabulary.mean(dim=0)  # near the origin, squared distances lose fewer digits
        far = squared_distances(places.to(centre) - centre, self.vocabulary - centre)  # [B, P, words]
        return (-far / (self.config.softness * self.spread)).softmax(dim=2).mean(dim=1)
