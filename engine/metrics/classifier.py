"""A small convolutional classifier of a data set's own labels: a feature space that needs no download."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.data.datasets import ImageSet, to_unit
from engine.files import Files, pack, unpack
from engine.metrics.extractors.kinds.classifier import CLASSIFIER
from engine.records import paths

DIMS = CLASSIFIER.dims
"""Size of the feature vector."""
WEIGHTS_FILE = paths.CLASSIFIER_WEIGHTS

HELD_OUT_EVERY = 10
"""Every tenth image is not trained on; accuracy is measured on these."""
BATCH_SIZE = 128
NUM_EPOCHS = 25
MAX_STEPS = 1000
"""Bounds training on large sets: 40 seconds on one core for 32x32 colour images;
digits end after 2 seconds."""
LEARNING_RATE = 3e-3
"""Of Adam at the first step; it falls linearly to 0."""


class Classifier(nn.Module):
    """Three 3x3 convolutions, the first two halving the image;
    pooled to 2x2; a 64-d layer; a linear read-out."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        widths = (channels, 32, 64, 64)
        self.convs = nn.Sequential()
        for stride, (inputs, outputs) in zip((2, 2, 1), pairwise(widths), strict=True):
            self.convs.extend(
                (nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(8, outputs), nn.SiLU())
            )
        self.penultimate = nn.Linear(4 * widths[-1], DIMS)
        self.readout = nn.Linear(DIMS, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate activations float32 [B, 64] of images uint8 [B, C, H, W]."""
        pooled = F.adaptive_avg_pool2d(self.convs(to_unit(images)), 2)
        return F.silu(self.penultimate(pooled.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images uint8 [B, C, H, W]."""
        logits: Tensor = self.readout(self.features(images))
        return logits


def unset_classifier(images: ImageSet) -> Classifier:
    """A network of the right shape for the data set, with memory but no values.

    It is built without memory first: the layers' own initialisation would draw from the global random state.
    """
    with torch.device("meta"):
        net = Classifier(images.images.shape[1], int(images.labels.max()) + 1)
    return net.to_empty(device="cpu")


def initialise(net: Classifier, generator: torch.Generator) -> None:
    """Set He-normal weights drawn from `generator` alone, zero biases and unit scales of the
    normalisations."""
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.ones_(module.weight)


def train_classifier(images: ImageSet, seed: int = 0) -> tuple[Classifier, float]:
    """Train on the CPU for a fixed number of steps;
    returns the network and its accuracy on the held-out images.

    The same images, seed and number of threads give the same bits;
    the global random state is neither used nor changed.
    """
    generator = torch.Generator().manual_seed(seed)
    net = unset_classifier(images)
    initialise(net, generator)
    held_out = torch.arange(len(images.images)) % HELD_OUT_EVERY == 0
    batches = list(shuffled_batches((~held_out).nonzero()[:, 0], generator))[:MAX_STEPS]
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / len(batches), total_iters=len(batches))
    for indices in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images.images[indices]), images.labels[indices])
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    net.eval().requires_grad_(False)
    return net, accuracy(net, images.images[held_out], images.labels[held_out])


def shuffled_batches(indices: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """All epochs' batches of indices, each epoch in an order of its own."""
    for _ in range(NUM_EPOCHS):
        order = torch.randperm(len(indices), generator=generator)
        yield from torch.split(indices[order], BATCH_SIZE)


def accuracy(net: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of images whose highest logit is their label."""
    predicted = torch.cat([net(batch).argmax(dim=1) for batch in torch.split(images, BATCH_SIZE)])
    return float((predicted == labels).double().mean())


def load_classifier(images: ImageSet, files: Files) -> tuple[Classifier, bytes]:
    """The data set's classifier, ready for inference, and its file's bytes:
    trained once, then read from `files`.

    Of two workers that train at the same time the first to write wins: whoever finds a finished file uses
    that. A file that was made from other images is replaced.
    """
    data = stored_weights(images, files)
    if data is None:
        net, held_out_accuracy = train_classifier(images)
        data = stored_weights(images, files)
        if data is None:
            data = pack(net.state_dict(), {"accuracy": held_out_accuracy, "data_sha256": images.sha256})
            files.write(WEIGHTS_FILE, data)
    net = unset_classifier(images)
    net.load_state_dict(unpack(data)[0])
    return net.eval().requires_grad_(False), data


def stored_weights(images: ImageSet, files: Files) -> bytes | None:
    """The stored classifier's bytes if it was made from these images."""
    data = files.read(WEIGHTS_FILE)
    return data if data is not None and unpack(data)[1]["data_sha256"] == images.sha256 else None
