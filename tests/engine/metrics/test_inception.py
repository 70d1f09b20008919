"""Inception-v3 with random weights: its features, where
weights come from, and what is said when there are none."""

import hashlib
import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

from engine.metrics import features
from engine.metrics.extractors.kinds.inception import INCEPTION, WEIGHTS
from engine.metrics.features import build_extractor
from engine.metrics.inception import InceptionPool3, WeightsNotFound, find_weights, load_inception

pytestmark = pytest.mark.slow

PUBLISHED = "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory) -> Path:
    """A file with random weights under the right names."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(fidelity, "load_state_dict_from_url", lambda url, progress: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda net, state: None)
        torch.save(fidelity.FeatureExtractorInceptionV3("inception", ["2048"]).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights_path) -> InceptionPool3:
    return load_inception(weights_path)[0]


@pytest.fixture
def no_network(monkeypatch, tmp_path) -> Path:
    """A machine without weights and without a network; returns where the published file would be kept."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no route")

    monkeypatch.delenv("ORCH_INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "checkpoints" / PUBLISHED


def noise(count: int, channels: int) -> torch.Tensor:
    shape = (count, channels, 8, 8)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_an_image_has_2048_features_of_its_own(network):
    rows = network(noise(2, 3))
    assert rows.shape == (2, 2048)
    assert rows.dtype == torch.float32
    assert not torch.equal(*rows)


def test_a_grey_image_is_one_with_three_equal_channels(network):
    grey = noise(1, 1)
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_the_extractor_records_the_hash_of_the_weights_file(weights_path, monkeypatch):
    monkeypatch.setattr(features, "BATCH_SIZE", 2)
    extractor = build_extractor("inception", None, files=None, weights_path=weights_path)
    assert (extractor.name, extractor.dims) == ("other_inception", 2048)
    assert extractor.sha256 == hashlib.sha256(weights_path.read_bytes()).hexdigest()
    assert extractor(noise(3, 1)).shape == (3, 2048)


def test_a_weights_file_that_would_run_code_is_refused_unrun(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"weights": Payload()}, tmp_path / "weights.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        load_inception(tmp_path / "weights.pth")
    assert not (tmp_path / "ran").exists()


def test_the_given_path_comes_before_the_environment_and_that_before_the_published_file(
    no_network, monkeypatch
):
    no_network.parent.mkdir()
    no_network.touch()
    assert find_weights(None) == no_network
    monkeypatch.setenv("ORCH_INCEPTION_WEIGHTS", "named.pth")
    assert find_weights(None) == Path("named.pth")
    assert find_weights(Path("given.pth")) == Path("given.pth")


def test_the_published_file_is_downloaded_once_and_its_hash_checked(no_network, monkeypatch):
    calls = []

    def download(url: str, target: str, hash_prefix: str, progress: bool) -> None:
        calls.append((url.rsplit("/", 1)[-1], hash_prefix))
        Path(target).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert find_weights(None) == find_weights(None) == no_network
    assert calls == [(PUBLISHED, "6726825d")]


def test_without_weights_or_network_the_error_names_the_three_ways(no_network):
    with pytest.raises(WeightsNotFound) as caught:
        load_inception()
    message = str(caught.value)
    assert "no route" in message
    assert f"pass the path of {PUBLISHED}" in message
    assert "ORCH_INCEPTION_WEIGHTS" in message
    assert str(no_network) in message


def test_a_named_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsNotFound, match=r"cannot read Inception weights .*absent\.pth: No such file"):
        load_inception(tmp_path / "absent.pth")


def hooked(network: InceptionPool3, layer: str, images: torch.Tensor) -> torch.Tensor:
    """What a layer of torch-fidelity's network gives in its own forward pass."""
    seen = []
    handle = network.net.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[-1]))
    network(images)
    handle.remove()
    return seen[0]


def test_spatial_features_are_seven_channels_of_mixed_6_at_every_place(network):
    """The graph's mixed_6 is its seventh mixed block, which torch-fidelity calls Mixed_6d;
    ADM's evaluator keeps [..., :7] of [17, 17, 192] and flattens it."""
    images = noise(2, 3)
    maps = hooked(network, "Mixed_6d.branch1x1", images)
    assert maps.shape == (2, 192, 17, 17)
    found = network.spatial(images)
    plain = [
        [
            float(image[channel, row, column])
            for row in range(17)
            for column in range(17)
            for channel in range(7)
        ]
        for image in maps
    ]
    assert found.shape == (2, 2023) == (2, INCEPTION.spatial_dims)
    assert torch.equal(found, torch.tensor(plain))
    assert float(found.min()) >= 0  # after the ReLU


def test_logits_are_torch_fidelitys_without_the_bias(weights_path, network):
    with open(weights_path, "rb") as file:
        theirs = fidelity.FeatureExtractorInceptionV3(
            "inception", ["logits_unbiased"], feature_extractor_weights_path=file
        )
    images = noise(2, 3)
    found = network.logits(network(images))
    assert found.shape == (2, 1008) == (2, INCEPTION.num_classes)
    torch.testing.assert_close(found, theirs(images)[0], rtol=1e-5, atol=1e-7)


def test_the_extractor_gives_all_three_under_the_name_of_its_weights(weights_path, monkeypatch):
    monkeypatch.setattr(features, "BATCH_SIZE", 2)
    extractor = build_extractor("inception", None, files=None, weights_path=weights_path)
    assert extractor.spatial is not None
    assert extractor.logits is not None
    assert extractor.spatial.name == "other_inception_spatial"
    assert extractor.spatial(noise(3, 1)).shape == (3, 2023)
    assert extractor.logits(extractor(noise(3, 1))).shape == (3, 1008)


def test_plans_know_the_file_that_torch_fidelity_publishes():
    assert WEIGHTS.url == fidelity.URL_INCEPTION_V3
    assert WEIGHTS.file.endswith(f"{WEIGHTS.sha256_prefix}.pth")
