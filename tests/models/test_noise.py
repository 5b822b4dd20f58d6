from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from colorgan.errors import ConfigError
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.variants import check_noise, first_numbers, paint_numbers
from colorgan.models import EMBEDDED
from colorgan.models.architectures import EncoderUNetConfig, GeneratorConfig, is_base
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.noise import NoiseChannels, draw_noise, variant_noise
from colorgan.models.unet import UNetGenerator
from colorgan.workers import Part, Workers

UNET = GeneratorConfig(size=32, width=4)
ENCODER = EncoderUNetConfig(64, 4, "lab", "batch", EMBEDDED)
Noisy = UNetGenerator | EncoderUNetGenerator


def generator(config: GeneratorConfig | EncoderUNetConfig, channels: int) -> Noisy:
    """A generator whose weights do not depend on the number of its noise channels."""
    torch.manual_seed(0)
    config = replace(config, noise_channels=channels)
    if isinstance(config, GeneratorConfig):
        return UNetGenerator(config).eval()
    return EncoderUNetGenerator(config).eval()


def speak(network: Noisy) -> Noisy:
    """The network with noise channels whose weights are no longer zero."""
    assert isinstance(network.noise, nn.ModuleList)
    torch.manual_seed(1)
    for noise in network.noise:
        assert isinstance(noise, NoiseChannels)
        nn.init.normal_(noise.layer.weight, 0, 0.2)
    return network


@pytest.mark.parametrize("config", [UNET, ENCODER])
def test_the_zero_vector_is_the_network_without_noise_to_the_bit(
    config: GeneratorConfig | EncoderUNetConfig,
) -> None:
    plain, noisy = generator(config, 0), generator(config, 3)
    ours, theirs = noisy.state_dict(), plain.state_dict()
    assert [name for name in ours if not name.startswith("noise.")] == [*theirs]
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    lightness = torch.rand(2, 1, config.size, config.size) * 2 - 1
    with torch.no_grad():
        expected = plain(lightness)
        assert torch.equal(noisy(lightness, z=torch.randn(2, 3)), expected), "weights start at 0"
        speak(noisy)
        assert torch.equal(noisy(lightness), expected)
        assert torch.equal(noisy(lightness, z=torch.zeros(2, 3)), expected)


@pytest.mark.parametrize("config", [UNET, replace(UNET, norm="batch"), ENCODER])
def test_noise_changes_the_colors_of_its_photograph_alone(
    config: GeneratorConfig | EncoderUNetConfig,
) -> None:
    noisy = speak(generator(config, 3))
    lightness = torch.rand(2, 1, config.size, config.size) * 2 - 1
    z = torch.randn(2, 3)
    z[1] = 0
    with torch.no_grad():
        changed, plain = noisy(lightness, z=z), noisy(lightness)
    assert (changed[0] - plain[0]).abs().mean() > 1e-3
    torch.testing.assert_close(changed[1], plain[1])


@pytest.mark.parametrize("channels", [0, 3])
def test_a_variant_is_the_same_whatever_is_beside_it(channels: int) -> None:
    network = generator(UNET, channels)
    colorizer = Colorizer(speak(network) if channels else network)
    photographs = torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    state = torch.get_rng_state()
    several = colorizer.generate_variants(photographs, [(1, 2, 3), (3,), (1,)])
    assert torch.equal(state, torch.get_rng_state())
    assert [len(each) for each in several] == [3, 1, 1]
    mean = colorizer.generate(photographs)
    torch.testing.assert_close(several[0][0], mean[0])
    torch.testing.assert_close(several[2][0], mean[2])
    (alone,) = colorizer.generate_variants(photographs[:1], [(3,)])
    torch.testing.assert_close(several[0][2], alone[0], rtol=0, atol=1e-5)
    assert (several[0][1] - several[0][2]).abs().mean() > 1e-3
    assert torch.equal(
        colorizer.generate_variants(photographs, [(1,)] * 3)[1][0],
        colorizer.generate(photographs)[1],
    )


def test_the_variants_of_a_batch_are_drawn_a_few_at_once() -> None:
    counts = []

    def drawn(some: Sequence[torch.Tensor], chosen: Sequence[int]) -> torch.Tensor:
        counts.append(len(chosen))
        return some[0] + torch.tensor(chosen)

    features = [torch.tensor([100, 200, 300])]
    numbers = [(1, 2, 3, 4, 5), (6,), (1, 9, 8, 7, 2)]
    made = paint_numbers(features, numbers, lambda some: some[0], drawn)
    assert [each.tolist() for each in made] == [
        [100, 102, 103, 104, 105],
        [206],
        [300, 309, 308, 307, 302],
    ]
    assert counts == [8, 1]


def test_threads_that_draw_dropout_at_once_do_not_disturb_each_other() -> None:
    colorizer = Colorizer(generator(UNET, 0))
    batch = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)

    def made(number: int) -> torch.Tensor:
        (colors,) = colorizer.generate_variants(batch, [(number,)])
        return colors

    numbers = [2, 3, 4, 5] * 20
    alone = {number: made(number) for number in (2, 3, 4, 5)}
    with ThreadPoolExecutor(4) as threads:
        for number, colors in zip(numbers, threads.map(made, numbers), strict=True):
            assert torch.equal(colors, alone[number])


def test_the_vector_of_a_number_never_changes() -> None:
    assert variant_noise(4, 1).tolist() == [0, 0, 0, 0]
    expected = torch.tensor([-1.5408734, -0.8713917, 0.7809486, -1.2262396])
    torch.testing.assert_close(variant_noise(4, 2), expected, rtol=0, atol=1e-6)
    # More channels do not change the first ones.
    assert torch.equal(variant_noise(8, 2)[:4], variant_noise(4, 2))


def test_workers_draw_the_vectors_of_the_whole_batch() -> None:
    device, parts = torch.device("cpu"), []
    for rank in (0, 1):
        part = Part(Workers(rank, 2))
        part.take(5)
        torch.manual_seed(0)
        parts.append(draw_noise(len(part.positions), 3, device, part))
    torch.manual_seed(0)
    assert torch.equal(torch.cat(parts), draw_noise(5, 3, device, None))


def test_a_network_without_noise_is_refused_with_a_way_to_get_some() -> None:
    check_noise([("a@1", UNET), ("b@1", replace(ENCODER, noise_channels=8))])  # dropout is noise
    with pytest.raises(ConfigError, match=r"c@1 has no noise.*--noise-channels 8.*--start-from"):
        check_noise([("b@1", replace(ENCODER, noise_channels=8)), ("c@1", ENCODER)])
    colorizer = Colorizer(generator(ENCODER, 0))
    photographs = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert len(colorizer.generate_variants(photographs, [(1,)])) == 1
    with pytest.raises(ConfigError, match="no noise"):
        colorizer.generate_variants(photographs, [(1, 2)])
    assert first_numbers(3) == (1, 2, 3)
    for count in (0, 17):
        with pytest.raises(ConfigError, match=f"{count} variants: choose from 1 to 16"):
            first_numbers(count)


def test_a_network_starts_from_one_without_its_noise_and_from_no_other() -> None:
    noisy = replace(ENCODER, noise_channels=8)
    assert is_base(ENCODER, noisy) and is_base(noisy, noisy) and is_base(ENCODER, ENCODER)
    assert not is_base(noisy, ENCODER)
    assert not is_base(replace(ENCODER, noise_channels=4), noisy)
    assert not is_base(replace(ENCODER, width=8), noisy)
