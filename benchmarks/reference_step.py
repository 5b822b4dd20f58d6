"""The reference: a training step of pix2pix in plain PyTorch, as most of its users run it.

It is independent of colorgan's code, so that it does not change with it: the U-Net and the 70 x 70
PatchGAN with batch normalisation and dropout (Isola et al. 2017, appendix 6.1), the vanilla GAN
loss, lambda 100, Adam, float32, and a frozen discriminator in the generator's step.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn


class ReferenceGenerator(nn.Module):
    """A U-Net: C64-C128-C256-C512-… down to one pixel, CD512-CD512-CD512-… up, with skips."""

    def __init__(self, size: int, width: int = 64) -> None:
        super().__init__()
        depth = size.bit_length() - 1
        channels = [width * min(2**level, 8) for level in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(depth):
            # Batch normalisation would erase the innermost level, which is a single pixel.
            plain = level in (0, depth - 1)
            convolution = nn.Conv2d(
                channels[level - 1] if level else 1, channels[level], 4, 2, 1, bias=plain
            )
            # In place is safe: the skip connection is followed by a ReLU, whose result is the same.
            self.down.append(
                nn.Sequential(
                    nn.LeakyReLU(0.2, inplace=True) if level else nn.Identity(),
                    convolution,
                    nn.Identity() if plain else nn.BatchNorm2d(channels[level]),
                )
            )
        for level in reversed(range(depth)):
            before = channels[level] * (1 if level == depth - 1 else 2)
            after = channels[level - 1] if level else 2
            self.up.append(
                nn.Sequential(
                    nn.ReLU(inplace=True),
                    nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not level),
                    nn.BatchNorm2d(after) if level else nn.Tanh(),
                    nn.Dropout(0.5) if level and level > depth - 4 else nn.Identity(),
                )
            )
        self.apply(_draw_weights)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, size, size) in [-1, 1] to (batch, 2, size, size) in [-1, 1]."""
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(x)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
        return x


def reference_discriminator(width: int = 64) -> nn.Sequential:
    """The PatchGAN on L, a and b: C64-C128-C256-C512 and a convolution to one logit per patch."""
    layers: list[nn.Module] = []
    channels = [3, width, width * 2, width * 4, width * 8]
    for level, (before, after) in enumerate(pairwise(channels)):
        stride = 2 if level < 3 else 1
        layers.append(nn.Conv2d(before, after, 4, stride, 1, bias=not level))
        if level:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    network = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 4, 1, 1))
    return network.apply(_draw_weights)


def _draw_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class ReferenceTraining:
    """Both networks and their optimisers."""

    def __init__(self, size: int, device: str = "cpu", width: int = 64) -> None:
        """Set up networks for squares of `size` pixels, with `width` channels (ngf and ndf)."""
        # As most users of pix2pix run it; it has no effect on a CPU.
        torch.backends.cudnn.benchmark = device == "cuda"
        self.generator = ReferenceGenerator(size, width).to(device)
        self.discriminator = reference_discriminator(width).to(device)
        self._adam_g, self._adam_d = (
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        )
        self._gan_loss = nn.BCEWithLogitsLoss()
        self._l1_loss = nn.L1Loss()

    def step(self, lightness: Tensor, color: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of each network.

        Args:
            lightness: (batch, 1, size, size) in [-1, 1].
            color: (batch, 2, size, size) in [-1, 1].

        Returns:
            The losses: the discriminator's, the generator's adversarial and its L1.
        """
        fake = self.generator(lightness)
        self.discriminator.requires_grad_(True)
        self._adam_d.zero_grad()
        says_fake = self._judge(torch.cat([lightness, fake.detach()], dim=1), 0.0)
        says_real = self._judge(torch.cat([lightness, color], dim=1), 1.0)
        loss_d = 0.5 * (says_fake + says_real)
        loss_d.backward()  # type: ignore[no-untyped-call]
        self._adam_d.step()

        self.discriminator.requires_grad_(False)
        self._adam_g.zero_grad()
        loss_gan = self._judge(torch.cat([lightness, fake], dim=1), 1.0)
        loss_l1 = self._l1_loss(fake, color)
        (loss_gan + 100.0 * loss_l1).backward()
        self._adam_g.step()
        return loss_d, loss_gan, loss_l1

    def _judge(self, picture: Tensor, verdict: float) -> Tensor:
        logits = self.discriminator(picture)
        target = torch.full_like(logits, verdict)
        loss: Tensor = self._gan_loss(logits, target)
        return loss
