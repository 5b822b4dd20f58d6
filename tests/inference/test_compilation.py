"""Networks compiled for this machine's processor, with its own C++ compiler."""

import logging
from pathlib import Path

import pytest
import torch

from colorgan.classes import PhotoClasses
from colorgan.errors import ColorganError
from colorgan.inference import compilation
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.compilation import compile_network
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import LabelRouter
from colorgan.inference.router_choice import RouterConfig
from colorgan.models import EMBEDDED, precision
from colorgan.models.architectures import EncoderUNetConfig, GeneratorConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.unet import UNetGenerator
from colorgan.storage import Storage
from serve.workers import RouterWorker
from tests.test_temporary import leave_behind

CONFIG = GeneratorConfig(size=32, width=4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; the compiled networks in it."""
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)


def colorizer(seed: int = 0) -> Colorizer:
    torch.manual_seed(seed)
    return Colorizer(UNetGenerator(CONFIG))


def squares(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


@pytest.mark.slow
def test_a_compiled_generator_writes_the_same_colours_and_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = colorizer()
    batch = squares(3)
    eager = made.generate(batch)
    made.compile()
    # In bfloat16, where the processor has it, further than in float32.
    torch.testing.assert_close(made.generate(batch), eager, rtol=0, atol=0.02)
    for count in (1, 4, 13):  # the program for one, the one for four, and both
        many = squares(count)
        expected = colorizer().generate(many)
        torch.testing.assert_close(made.generate(many), expected, rtol=0, atol=0.02)
    noisy = made.generate(batch, noise=True)
    assert not torch.equal(noisy, made.generate(batch, noise=True)), "noise is the network's own"

    kept = {*cache.iterdir()}
    assert len(kept) == 2, "one for a single photograph, one for four"
    monkeypatch.setenv("PATH", "")  # whoever is next needs no compiler
    again = colorizer()
    again.compile()
    torch.testing.assert_close(again.generate(batch), made.generate(batch))
    assert {*cache.iterdir()} == kept
    other = colorizer(seed=1)
    with pytest.raises(ColorganError, match="needs a C"):
        other.compile()
    for path in kept:  # what is damaged is compiled anew
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ColorganError, match="needs a C"):
        colorizer().compile()
    assert {*cache.iterdir()} < kept


@pytest.mark.slow
def test_a_compiled_pass_sees_and_colours_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    classifier = load_classifier()
    torch.manual_seed(0)
    config = EncoderUNetConfig(224, 8, "lab", "batch", EMBEDDED)
    made = Colorizer(EncoderUNetGenerator(config, load_classifier().network))
    router = LabelRouter(classifier, PhotoClasses.load())
    one_pass = OnePass(router, dict.fromkeys(router.classes, made))
    batch = torch.rand(5, 1, 224, 224)
    squares = torch.randint(0, 256, (5, 1, 224, 224), dtype=torch.uint8)
    eager, seen = one_pass(batch), classifier(squares)
    one_pass.compile()
    assert len([*cache.iterdir()]) == 4, (
        "of the classifier and of the decoder, for one and for four"
    )
    for ours, theirs in zip(one_pass(batch), eager, strict=True):
        assert ours.route.photo_class == theirs.route.photo_class
        torch.testing.assert_close(ours.color, theirs.color, rtol=0, atol=1e-3)
    for now, before in zip(classifier(squares), seen, strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=1e-3)


def test_without_a_compiler_a_sentence_says_what_is_missing(no_compiler: None) -> None:
    with pytest.raises(ColorganError, match=r"needs a C\+\+ compiler, as g\+\+: install one"):
        colorizer().compile()


def test_what_a_killed_compilation_has_left_is_deleted_by_the_next(
    cache: Path, no_compiler: None
) -> None:
    cache.mkdir(parents=True, mode=0o700)
    assert leave_behind(cache).is_dir()
    with pytest.raises(ColorganError, match="needs a C"):
        colorizer().compile()
    assert not [*cache.iterdir()]


def test_a_service_without_a_compiler_works_and_says_why_it_is_slow(
    no_compiler: None, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        worker = RouterWorker(storage.uri, RouterConfig(), {}, "cpu", True)
    worker.check()
    assert "needs a C++ compiler, as g++: install one; it works without" in caplog.text


def test_what_cannot_be_compiled_is_one_sentence_and_leaves_nothing(cache: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x  # the way depends on the values

    with pytest.raises(ColorganError, match="PyTorch could not compile the network: ") as refused:
        compile_network(Odd(), torch.zeros(1, 1, 32, 32))
    assert "\n" not in str(refused.value)
    assert not [*cache.iterdir()]


def test_others_may_not_write_where_machine_code_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert compilation.kept_folder() is None
    cache.chmod(0o700)
    assert compilation.kept_folder() == cache
