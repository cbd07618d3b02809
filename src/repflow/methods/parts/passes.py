"""Features of all images of a stream, for methods that look at all of them now and then."""

import torch
from torch import Tensor

from repflow.data.read.batches import Stream
from repflow.encoders.encoder import Encoder


@torch.no_grad()
def encode_all(encoder: Encoder, stream: Stream) -> Tensor:
    """Features [N, width] of the images as they are, from the encoder in evaluation mode."""
    was_training = encoder.training
    encoder.eval()
    features = torch.cat([encoder(batch.images) for batch in stream.in_order()])
    encoder.train(was_training)
    return features
