"""Features of the whole dataset, for methods that periodically cluster it or fill a memory bank."""

import torch
from torch import Tensor

from repflow.data.read.batches import Stream
from repflow.encoders.encoder import Encoder


@torch.no_grad()
def encode_all(encoder: Encoder, stream: Stream) -> Tensor:
    """Features [N, width] of all images, without augmentation, from the encoder in evaluation mode."""
    was_training = encoder.training
    encoder.eval()
    features = torch.cat([encoder(batch.images) for batch in stream.in_order()])
    encoder.train(was_training)
    return features
