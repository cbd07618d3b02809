"""Damaged jigsaw: solve a grey jigsaw puzzle with a missing tile, inpaint the tile and colorize the others.

Kim, Cho, Yoo, Kweon. Learning Image Representations by Completing Damaged Jigsaw Puzzles. WACV 2018.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.color_spaces import lab_to_rgb, rgb_to_lab, without_colour
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.lightness import without_colour_for
from repflow.errors import ParameterError
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.gamut import Gamut
from repflow.methods.parts.tiles import TILES, assemble, of_tiles, permuted, prepared
from repflow.methods.parts.upsampler import Upsampler
from repflow.methods.pretext import jigsaw
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, Positive, parameters
from repflow.training.contract import Losses


@parameters
class Config(jigsaw.Config):
    """The parameters of the damaged jigsaw, in addition to those of the jigsaw.

    Attributes:
        solving: weight of the permutation's cross-entropy.
        painting: weight of the squared error of the inpainted tile.
        colouring: weight of the colours' cross-entropy.
        decoder: channels of the stages of both decoders, each of which doubles height and width.
        grid: side of a colour bin, in units of a and b.
        places: height and width of a tile's predicted colours.
        temperature: of the annealed mean that decodes colours for figures.
    """

    solving: NonNegative = 1.0
    painting: NonNegative = 10.0
    colouring: NonNegative = 0.5
    decoder: tuple[Count, ...] = (64, 32)
    grid: Positive = 20.0
    places: Count = 4
    temperature: Positive = 0.38


class DamagedJigsaw(jigsaw.Jigsaw):
    """The jigsaw's network with an inpainting decoder for all tiles and a colour decoder for each."""

    columns = ("image", "damaged puzzle", "completed and solved")

    config: Config

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(config, encoder)
        if len(encoder.mean) != 3:
            raise ParameterError("pretrain.name: damaged_jigsaw takes images with colours; set data.channels to 3")
        self.inpainting_decoder = Decoder(TILES * config.tile_width, config.decoder, channels=3)
        self.gamut = Gamut(config.grid)
        self.colour_decoder = Upsampler(encoder.width, config.decoder, channels=len(self.gamut))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The weighted sum of the three losses."""
        config = self.config
        tiles, which = self.puzzle(self.augmented(batch, draw), draw)  # [B, 9, 3, side, side] and [B]
        missing = self.missing(tiles, draw)  # [B, 9]
        logits, painted, colours = self.complete(self.damaged(tiles, missing, draw))
        solving = F.cross_entropy(logits, which)
        # Taken by their places: to take them by the mask, the host would have to wait for a GPU.
        last = missing.int().argsort(dim=1, stable=True)  # [B, 9], the missing tile last
        whole, lost = permuted(tiles, last).split([TILES - 1, 1], dim=1)
        painting = F.mse_loss(painted, lost[:, 0])
        true = F.adaptive_avg_pool2d(rgb_to_lab(whole.flatten(0, 1))[:, 1:], config.places)  # [8B, 2, places, places]
        colouring = F.cross_entropy(permuted(colours, last)[:, :-1].flatten(0, 1), self.gamut.shares(true))
        total = config.solving * solving + config.painting * painting + config.colouring * colouring
        right = (logits.argmax(1) == which).float().mean()
        return Losses(total, {"accuracy": right, "painting": painting, "colouring": colouring})

    def missing(self, tiles: Tensor, draw: Draw) -> Tensor:
        """Mask of the missing tile of each puzzle: bool [B, 9], one per row."""
        index = draw.stream("missing").integers(len(tiles), 1, high=TILES)
        return (index == torch.arange(TILES, device=draw.device)).to(tiles.device)

    def damaged(self, tiles: Tensor, missing: Tensor, draw: Draw) -> Tensor:
        """The encoder's input: tiles without colour, with grey noise in place of the missing one.

        An encoder of lightness gets the tiles as they are, as it drops the colour itself.
        """
        encoder = of_tiles(self.encoder)
        uncoloured = without_colour_for(encoder, tiles.flatten(0, 1))
        seen = prepared(self.encoder, uncoloured, self.config.normalise).unflatten(0, (-1, TILES))
        noise = draw.stream("noise").normal(len(seen), TILES, 1, *seen.shape[3:]).to(seen) * encoder.std + encoder.mean
        return torch.where(missing[..., None, None, None], noise, seen)

    def complete(self, damaged: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Permutation logits [B, P], the inpainted tile [B, 3, side, side], and colour logits of all tiles.

        The last are [B, 9, Q, places, places].
        """
        config = self.config
        maps = of_tiles(self.encoder).maps(damaged.flatten(0, 1))  # [9B, width, h, w]
        features = self.tile_head(maps.mean(dim=(2, 3))).unflatten(0, (-1, TILES)).flatten(1)  # [B, 9 tile_width]
        colours = self.colour_decoder(maps, (config.places, config.places)).unflatten(0, (-1, TILES))
        return self.head(features), self.inpainting_decoder(features, (config.side, config.side)), colours

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], damaged puzzles, and completed and solved ones: [B, 3, 3, H, W]."""
        draw = Draw(0, "pictures", device=images.device)
        tiles, _ = self.puzzle(images, draw)
        missing = self.missing(tiles, draw)
        logits, painted, colours = self.complete(self.damaged(tiles, missing, draw))
        mean = self.gamut.annealed_mean(colours.flatten(0, 1), self.config.temperature)
        spread = F.interpolate(mean, tiles.shape[3:], mode="bilinear")
        lightness = rgb_to_lab(tiles.flatten(0, 1))[:, :1]
        made = lab_to_rgb(torch.cat([lightness, spread], dim=1)).view_as(tiles)
        made[missing] = painted.clamp(0, 1)
        puzzle = without_colour(tiles.flatten(0, 1)).view_as(tiles).masked_fill(missing[..., None, None, None], 0.5)
        solved = permuted(made, self.permutations[logits.argmax(1)].argsort(dim=1))
        size = images.shape[2:]
        return torch.stack([images, assemble(puzzle, size), assemble(solved, size)], dim=1)
