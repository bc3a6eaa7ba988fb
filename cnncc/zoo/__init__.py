"""The zoo: classic networks in cnncc's language, one file a network or a family of them.

TABLE says of each what is published: parameters (trained numbers, without BatchNormalization's statistics), shapes,
multiply-accumulates. tests/zoo compares the networks with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..records import record

if TYPE_CHECKING:
    from ..ir import Graph

__all__ = ["TABLE", "Entry", "find", "load", "names"]


@record
class Entry:
    """A network of the zoo and what is published of it.

    Attributes:
        file: the name of its file, without .cnn.
        parameters: how many trained numbers it has.
        inputs, outputs: the types, in order.
        source: where the number of parameters is from; "layers": computed from the paper's layers.
        gmacs: published multiply-accumulates of one input in units of 10^9, where there is such a number: torchvision's
            for its networks, for Inception-ResNet-v2 and Xception table 2 of Zoph et al., "Learning Transferable
            Architectures for Scalable Image Recognition", 2018, otherwise the authors'.
        small: parameters of the network that make it cheap enough for a test; its layers stay the same.
        sizes: of symbolic dimensions other than the batch, for runs.
    """

    name: str
    file: str
    parameters: int
    inputs: str
    outputs: str
    source: str
    gmacs: float | None = None
    small: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(__file__).parent / f"{self.file}.cnn"


def _classifier(name: str, parameters: int, source: str, gmacs: float | None = None, *, file: str | None = None,
                size: int = 224, small: int = 64) -> Entry:
    """A network of 1000 classes, for pictures of size x size pixels."""
    return Entry(name, file or name, parameters, f"f32[N,3,{size},{size}]", "f32[N,1000]", source, gmacs,
                 {"size": small})


TABLE: tuple[Entry, ...] = (
    Entry("lenet5", "lenet5", 61_706, "f32[N,1,32,32]", "f32[N,10]", "layers, with full connections in the third"),
    Entry("cifar_cnn", "cifar_cnn", 551_018, "f32[N,3,32,32]", "f32[N,10]", "layers"),
    _classifier("alexnet", 61_100_840, "torchvision alexnet", 0.714),
    _classifier("zfnet", 62_357_608, "layers"),
    _classifier("vgg11", 132_863_336, "torchvision vgg11", 7.609, file="vgg"),
    _classifier("vgg11_lrn", 132_863_336, "vgg11, whose parameters they are", 7.609, file="vgg"),
    _classifier("vgg13", 133_047_848, "torchvision vgg13", 11.308, file="vgg"),
    _classifier("vgg16", 138_357_544, "torchvision vgg16", 15.47),
    _classifier("vgg16_1x1", 133_638_952, "vgg16, less eight ninths of three convolutions", file="vgg"),
    _classifier("vgg19", 143_667_240, "torchvision vgg19", 19.632, file="vgg"),
    _classifier("googlenet", 6_624_904, "torchvision googlenet", 1.498),
    _classifier("inception_v3", 23_834_568, "torchvision inception_v3 without its auxiliary head", 5.713,
                size=299, small=96),
    _classifier("inception_resnet_v2", 55_843_464, "pretrainedmodels inceptionresnetv2", 13.2, size=299, small=96),
    _classifier("resnet18", 11_689_512, "torchvision resnet18", 1.814, file="resnet"),
    _classifier("resnet34", 21_797_672, "torchvision resnet34", 3.664, file="resnet"),
    _classifier("resnet50", 25_557_032, "torchvision resnet50", 4.089),
    _classifier("resnet101", 44_549_160, "torchvision resnet101", 7.801, file="resnet"),
    _classifier("resnet152", 60_192_808, "torchvision resnet152", 11.514, file="resnet"),
    Entry("resnet18_cifar", "resnet", 11_173_962, "f32[N,3,32,32]", "f32[N,10]", "kuangliu/pytorch-cifar", 0.56),
    _classifier("resnext50", 25_028_904, "torchvision resnext50_32x4d", 4.23, file="resnet"),
    _classifier("wide_resnet50", 68_883_240, "torchvision wide_resnet50_2", 11.398, file="resnet"),
    _classifier("se_resnet50", 28_088_024, "pretrainedmodels se_resnet50"),
    _classifier("densenet121", 7_978_856, "torchvision densenet121", 2.834),
    _classifier("squeezenet", 1_235_496, "torchvision squeezenet1_1", 0.349),
    _classifier("xception", 22_855_952, "pretrainedmodels xception", 8.4, size=299, small=96),
    _classifier("mobilenet_v1", 4_231_976, "Keras MobileNet", 0.569),
    _classifier("mobilenet_v2", 3_504_872, "torchvision mobilenet_v2", 0.301),
    _classifier("mobilenet_v3", 5_483_032, "torchvision mobilenet_v3_large", 0.217),
    _classifier("shufflenet_v2", 2_278_604, "torchvision shufflenet_v2_x1_0", 0.145),
    _classifier("efficientnet_b0", 5_288_548, "torchvision efficientnet_b0", 0.386, file="efficientnet"),
    _classifier("efficientnet_b1", 7_794_184, "torchvision efficientnet_b1", 0.687, file="efficientnet", size=240),
    _classifier("efficientnet_b2", 9_109_994, "torchvision efficientnet_b2", 1.088, file="efficientnet", size=288),
    _classifier("efficientnet_b3", 12_233_232, "torchvision efficientnet_b3", 1.827, file="efficientnet", size=300),
    _classifier("efficientnet_b4", 19_341_616, "torchvision efficientnet_b4", 4.394, file="efficientnet", size=380),
    _classifier("efficientnet_b5", 30_389_784, "torchvision efficientnet_b5", 10.266, file="efficientnet", size=456),
    _classifier("efficientnet_b6", 43_040_704, "torchvision efficientnet_b6", 19.068, file="efficientnet", size=528),
    _classifier("efficientnet_b7", 66_347_960, "torchvision efficientnet_b7", 37.746, file="efficientnet", size=600),
    _classifier("convnext_tiny", 28_589_128, "torchvision convnext_tiny", 4.456),
    _classifier("vit_b16", 86_567_656, "torchvision vit_b_16", 17.564),
    Entry("fcn8s", "fcn8s", 134_489_759, "f32[N,3,500,500]", "f32[N,21,500,500]", "layers of the authors' voc-fcn8s",
          None, {"height": 64, "width": 64}),
    Entry("fcn_resnet50", "fcn_resnet50", 35_322_218, "f32[N,3,8*H,8*W]", "f32[N,21,8*H,8*W] f32[N,21,8*H,8*W]",
          "torchvision fcn_resnet50", sizes={"H": 4, "W": 4}),
    Entry("unet", "unet", 31_037_698, "f32[N,3,16*H,16*W]", "f32[N,2,16*H,16*W]", "milesial/Pytorch-UNet UNet(3, 2)",
          sizes={"H": 4, "W": 4}),
    Entry("yolov3", "yolov3", 61_949_149, "f32[N,3,416,416]", "f32[N,255,13,13] f32[N,255,26,26] f32[N,255,52,52]",
          "ultralytics yolov3", 32.9, {"size": 96}),
    Entry("espcn", "espcn", 22_729, "f32[N,1,H,W]", "f32[N,1,3*H,3*W]", "layers", sizes={"H": 40, "W": 48}),
    Entry("srcnn", "srcnn", 8_129, "f32[N,1,H,W]", "f32[N,1,H,W]", "the paper's 8,032 weights and 97 biases",
          sizes={"H": 40, "W": 48}),
    Entry("conv_autoencoder", "conv_autoencoder", 4_385, "f32[N,1,28,28]", "f32[N,8,4,4] f32[N,1,28,28]",
          "Chollet, Building Autoencoders in Keras"),
    Entry("vae_decoder", "vae_decoder", 65_089, "f32[N,2]", "f32[N,1,28,28]", "Chollet, Keras example VAE"),
    Entry("dcgan_generator", "dcgan_generator", 3_576_704, "f32[N,100,1,1]", "f32[N,3,64,64]",
          "PyTorch's DCGAN tutorial"),
    Entry("diffusion_unet", "diffusion_unet", 35_746_307, "f32[N,3,32,32] f32[N]", "f32[N,3,32,32]",
          "diffusers' google/ddpm-cifar10-32"),
    Entry("c3d", "c3d", 78_409_573, "f32[N,3,16,112,112]", "f32[N,101]", "layers", 38.5, {"size": 48}),
    Entry("audio_cnn", "audio_cnn", 26_915, "f32[N,1,8000]", "f32[N,35]", "PyTorch's speech command tutorial"),
)


def names() -> list[str]:
    """The networks of the zoo, in the order of the table."""
    return [entry.name for entry in TABLE]


def find(name: str) -> Entry:
    """The network's entry. Raises InputError where the zoo has no such network."""
    for entry in TABLE:
        if entry.name == name:
            return entry
    import difflib

    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "; 'cnncc zoo list' lists them"
    raise InputError(f"the zoo has no network '{name}'{hint}")


def load(name: str, *, weights: str | Path | Mapping[str, Any] | None = None, seed: int | None = 0,
         **parameters: Any) -> Graph:
    """The graph of a network of the zoo.

    Args:
        weights: a .safetensors or .npz file, or arrays by name.
        seed: without weights, the seed that they are drawn by; None gives zeros that take no memory.
        parameters: of the network, such as classes=10 or size=96.
    """
    from ..language import network

    return network(find(name).path, name, weights=weights, seed=seed, parameters=parameters)
