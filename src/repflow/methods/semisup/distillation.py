"""Distillation: predict for strong views of unlabelled images what linear classifiers of frozen features predict.

Chen, Kornblith, Swersky, Norouzi, Hinton. Big Self-Supervised Models are Strong Semi-Supervised Learners. NeurIPS 2020.
There the teacher is the fine-tuned network. With few labels, and the steps that a CPU can afford, linear classifiers of
the pretrained features are better, and the mean of several is better still (docs/recipes.md). A network that can do
better than its teacher leaves it behind in the second part of the training: confident predictions for weak views are
pseudo-labels for strong views, as in FixMatch (Sohn et al., NeurIPS 2020), with the teacher's as a prior.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batch, Batches, Stream
from repflow.encoders import Classifier
from repflow.methods.parts.probe_teacher import ProbeTeacher
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, Positive, parameters
from repflow.training.contract import ClassifierMethod, Losses

_LEAST = 1e-6
"""Of a teacher's probability, before its logarithm is taken."""
_REMEMBERED = 100_000
"""Most images whose probabilities by the teacher are kept; of more, a training of usual length sees many just once."""


@parameters
class Config:
    """Distillation's parameters. The moving average of the weights is `training.ema`.

    Attributes:
        weak: augmentation policy of labelled images and of the views that give pseudo-labels.
        strong: augmentation policy of the views that are trained on the teacher's predictions and on pseudo-labels.
        temperature: of the teacher's probabilities; below 1 they are sharpened.
        inverse_regularisation: of the teacher's logistic regressions on standardised features; scikit-learn's C.
        share: of the training steps in which the teacher alone is followed.
        prior: the power of the teacher's probabilities that the network's are multiplied by in the other steps.
        threshold: minimum confidence of a pseudo-label in these steps.
        weight: of the loss of unlabelled images.
        unlabelled_ratio: unlabelled images for each labelled one in a batch.
    """

    weak: PolicyConfig
    strong: PolicyConfig
    temperature: Positive = 0.5
    inverse_regularisation: Positive = 0.01
    share: Fraction = 0.5
    prior: NonNegative = 0.5
    threshold: Fraction = 0.8
    weight: NonNegative = 1.0
    unlabelled_ratio: Count = 3


class Distillation(ClassifierMethod):
    """Cross-entropy with labels and, for unlabelled images, with a teacher's probabilities, then with pseudo-labels."""

    streams = ("labelled", "unlabelled")
    reads_known_labels = True

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.config = config
        self.weak, self.strong = Policy(config.weak), Policy(config.strong)

    def batch_size(self, stream: str, size: int) -> int:
        """`unlabelled_ratio` times as many unlabelled images as labelled ones."""
        return size * self.config.unlabelled_ratio if stream == "unlabelled" else size

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Fit the teacher to the features that the encoder starts with, and ask it once about every image."""
        encoder = self.classifier.encoder
        self.teacher = ProbeTeacher(encoder, streams["labelled"], self.config.inverse_regularisation)
        unlabelled = streams["unlabelled"]
        self._remembered: Tensor | None = None  # [N, classes]
        if len(unlabelled) <= _REMEMBERED:
            self._remembered = torch.cat([self.teacher(batch.images) for batch in unlabelled.in_order()])

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of weak views with labels plus cross-entropy of strong views with `targets`.

        The labelled images are among the unlabelled ones; they keep their labels.
        """
        labelled, unlabelled = batch["labelled"], batch["unlabelled"]
        with torch.no_grad():
            targets, weights = self.targets(unlabelled, batch.progress, draw)  # [μB, classes], [μB]
            known = unlabelled.labels >= 0
            named = F.one_hot(unlabelled.labels.clamp(min=0), self.classifier.classes).to(targets)
            targets, weights = torch.where(known[:, None], named, targets), weights.masked_fill(known, 1.0)

        # In one pass, so that batch normalisation sees labelled and unlabelled images alike.
        weak = self.weak(labelled.images, draw.stream("labelled"))  # [B, C, H, W]
        strong = self.strong(unlabelled.images, draw.stream("strong"))  # [μB, C, H, W]
        logits, predicted = self.classifier(torch.cat([weak, strong])).split([len(weak), len(strong)])
        supervised = F.cross_entropy(logits, labelled.labels)
        unsupervised = (weights * F.cross_entropy(predicted, targets, reduction="none")).mean()

        total = supervised + self.config.weight * unsupervised
        metrics = {"supervised": supervised, "unsupervised": unsupervised, "confident": weights.mean()}
        return Losses(total, metrics)

    def targets(self, unlabelled: Batch, progress: float, draw: Draw) -> tuple[Tensor, Tensor]:
        """Targets for unlabelled images, and the weight of each.

        Args:
            unlabelled: the images [B, C, H, W] without augmentation; the teacher sees them so.
            progress: the completed share of the training steps.
            draw: random numbers for the weak views.

        Returns:
            Probabilities [B, classes], and weights [B]: the teacher's, all of weight 1; or, after `share` of the steps,
            pseudo-labels as one-hot vectors, of weight 1 if they are confident and 0 if not.
        """
        told = self.teacher(unlabelled.images) if self._remembered is None else self._remembered[unlabelled.rows]
        taught = (told.clamp(min=_LEAST).log() / self.config.temperature).log_softmax(1)
        if progress < self.config.share:
            return taught.exp(), torch.ones_like(taught[:, 0])
        own = self.classifier(self.weak(unlabelled.images, draw.stream("weak"))).log_softmax(1)
        confidence, pseudo_labels = (own + self.config.prior * taught).softmax(1).max(1)
        return F.one_hot(pseudo_labels, taught.shape[1]).to(taught), (confidence >= self.config.threshold).float()
