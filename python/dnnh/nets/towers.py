"""Architectures: stacks of convolutions from an image's pixels to its 50 q features.

Each is a function that adds layers to a Tower. The paper gives one, for 256x256 images,
and how it is made: as Network in Network, with 1x1 convolutions behind those with larger
filters and an average pooling at the end.

Sources: Lai, Pan, Liu, Yan, CVPR 2015 (here "the paper"), section 3.2 and table 1;
Lin, Chen, Yan, "Network in Network", ICLR 2014.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dnnh.data.triplets import MEMBERS
from dnnh.nets import pycaffe

Message = Any  # a message of caffe_pb2, which is built with Caffe

QUERY, POSITIVE, NEGATIVE = MEMBERS  # what layers and blobs are called

# Learning-rate and weight-decay factors of weights and of biases.
WEIGHTS_AND_BIASES = (
    {"lr_mult": 1, "decay_mult": 1},
    {"lr_mult": 2, "decay_mult": 0},
)
# The running mean and variance look back over some 50 iterations.
BATCH_NORM: Mapping[str, float] = {"moving_average_fraction": 0.98}


def layer(
    name: str, type: str, bottom: Sequence[str], top: Sequence[str], **fields: Any
) -> Message:
    """A LayerParameter; ``fields`` are its other fields, messages among them as dicts."""
    return pycaffe.messages().LayerParameter(name=name, type=type, bottom=bottom, top=top, **fields)


class Tower:
    """Stacks layers, each on the one before.

    Parameters
    ----------
    bottom : str
        The blob with the pixels.
    heads : dict of str to int
        Number of features by prefix: one tower may end in features for codes of several
        lengths, a head for each.
    batch_norm : bool
        Put a batch normalization between each convolution and its ReLU (Ioffe and Szegedy,
        ICML 2015).
    prefix : str
        Comes before the name of each layer.
    relu_features : bool
        Whether a ReLU follows the last convolution.

    Attributes
    ----------
    layers : list of LayerParameter
    features_of : dict of str to str
        The blob with the features of each head.
    batch_norm_param : dict
        Fields of the batch normalizations that are added from now on.
    rate : float
        Factor of the learning rates of layers that are added from now on.
    top : str
        The last blob, which the next layer reads.
    """

    def __init__(
        self,
        bottom: str,
        heads: Mapping[str, int],
        batch_norm: bool = False,
        prefix: str = "",
        relu_features: bool = True,
    ) -> None:
        self.layers: list[Message] = []
        self.features_of: dict[str, str] = {}
        self.batch_norm_param = BATCH_NORM
        self.rate = 1.0
        self.top = bottom
        self._heads = heads
        self._batch_norm = batch_norm
        self._prefix = prefix
        self._relu_features = relu_features

    def _add(self, name: str, type: str, in_place: bool = False, **fields: Any) -> None:
        if self.rate != 1 and "param" in fields:
            fields["param"] = [
                {**param, "lr_mult": self.rate * param.get("lr_mult", 1)}
                for param in fields["param"]
            ]
        name = self._prefix + name
        top = self.top if in_place else name
        self.layers.append(layer(name, type, [self.top], [top], **fields))
        self.top = top

    def convolution(
        self,
        name: str,
        outputs: int,
        kernel: int,
        pad: int = 0,
        stride: int = 1,
        pool: int = 0,
        groups: int = 1,
        bias: bool = True,
        activation: str | None = "ReLU",
    ) -> None:
        """Add a convolution and its ReLU (which the paper's table 1 leaves out).

        ``pool`` above 0: max pooling with that kernel and stride comes before the batch
        normalization, which then has fewer values to normalize. ``activation`` is ReLU, ReLU6
        or None.
        """
        convolution_param: dict[str, Any] = {
            "num_output": outputs,
            "kernel_size": [kernel],
            "weight_filler": {"type": "msra"},
        }
        if bias:
            convolution_param["bias_filler"] = {"type": "constant"}
        else:
            convolution_param["bias_term"] = False
        if pad:
            convolution_param["pad"] = [pad]
        if stride > 1:
            convolution_param["stride"] = [stride]
        if groups > 1:
            convolution_param["group"] = groups
        param = WEIGHTS_AND_BIASES if bias else WEIGHTS_AND_BIASES[:1]
        self._add(name, "Convolution", param=param, convolution_param=convolution_param)
        if pool:
            self.pool(f"pool_{name}", "MAX", pool, pool)
        if self._batch_norm:
            self._add(
                f"bn_{name}", "BatchNorm", in_place=True, batch_norm_param=self.batch_norm_param
            )
            self._add(
                f"scale_{name}",
                "Scale",
                in_place=True,
                param=[{"decay_mult": 0}, {"decay_mult": 0}],
                scale_param={"bias_term": True},
            )
        match activation:
            case "ReLU":
                self.relu(name)
            case "ReLU6":  # not in place: the gradient of Clip depends on its inputs
                self._add(f"relu_{name}", "Clip", clip_param={"min": 0, "max": 6})

    def residual(self, name: str, outputs: int) -> None:
        """Add two 3x3 convolutions and, to what they give, what they get (He et al., CVPR 2016)."""
        shortcut = self.top
        self.convolution(f"{name}_1", outputs, 3, pad=1)
        self.convolution(f"{name}_2", outputs, 3, pad=1, activation=None)
        self.add(name, shortcut)
        self.relu(name)

    def relu(self, name: str) -> None:
        """Add the ReLU of a layer, in place."""
        self._add(f"relu_{name}", "ReLU", in_place=True)

    def add(self, name: str, other: str) -> None:
        """Add an earlier blob, ``other``, to the last one."""
        name = self._prefix + name
        self.layers.append(layer(name, "Eltwise", [self.top, other], [name]))
        self.top = name

    def pool(self, name: str, method: str, kernel: int, stride: int = 1, pad: int = 0) -> None:
        """Add a pooling layer; ``method`` is MAX or AVE."""
        pooling_param = {"pool": method, "kernel_size": kernel, "stride": stride}
        if pad:
            pooling_param["pad"] = pad
        self._add(name, "Pooling", pooling_param=pooling_param)

    def channel_bias(self, name: str) -> None:
        """Add a bias of each channel that is not trained."""
        self._add(name, "Bias", param=[{"lr_mult": 0, "decay_mult": 0}])

    def normalize_channels(self, name: str) -> None:
        """Add the local response normalization of Krizhevsky et al., NIPS 2012."""
        self._add(name, "LRN", lrn_param={"local_size": 5, "alpha": 1e-4, "beta": 0.75})

    def end(self) -> None:
        """End: the last blob has the features of every head."""
        self.features_of = dict.fromkeys(self._heads, self.top)

    def global_average(self, name: str) -> None:
        """Add the average over all positions."""
        self._add(name, "Pooling", pooling_param={"pool": "AVE", "global_pooling": True})

    def dropout(self, name: str, ratio: float, in_place: bool = True) -> None:
        """Add dropout; the blob before it stays as it is unless ``in_place``."""
        self._add(name, "Dropout", in_place=in_place, dropout_param={"dropout_ratio": ratio})

    def concat(self, name: str, other: str) -> None:
        """Join the channels of the last blob and of an earlier layer's."""
        self.join(name, [self.top, self._prefix + other])

    def join(self, name: str, blobs: Sequence[str]) -> None:
        """Join the channels of blobs."""
        name = self._prefix + name
        self.layers.append(layer(name, "Concat", blobs, [name]))
        self.top = name

    def features(self, name: str, size: int) -> None:
        """End with a 1x1 convolution and the average over its size x size outputs, for each head."""
        trunk = self.top
        for head, features in self._heads.items():
            self.top = trunk
            activation = "ReLU" if self._relu_features else None
            self.convolution(head + name, features, 1, activation=activation)
            if size > 1:
                self.pool(f"{head}features", "AVE", size)
            self.features_of[head] = self.top


Architecture = Callable[[Tower], None]


def nin(tower: Tower) -> None:
    """Network in Network's CIFAR-10 net with 50 q outputs, for 32x32 images."""
    tower.convolution("conv1", 192, 5, pad=2)
    tower.convolution("cccp1", 160, 1)
    tower.convolution("cccp2", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)  # 16x16
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 192, 5, pad=2)
    tower.convolution("cccp3", 192, 1)
    tower.convolution("cccp4", 192, 1)
    tower.pool("pool2", "AVE", 3, 2)  # 8x8
    tower.dropout("drop2", 0.2)
    tower.convolution("conv3", 192, 3, pad=1)
    tower.convolution("cccp5", 192, 1)
    tower.features("cccp6", 8)


def lai(tower: Tower) -> None:
    """The architecture that a public reimplementation attributes to the authors' code."""
    tower.convolution("conv1", 96, 5, pad=2)
    tower.convolution("cccp1", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)  # 16x16
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 256, 5, pad=2)
    tower.convolution("cccp2", 256, 1)
    tower.pool("pool2", "MAX", 3, 2)  # 8x8
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("cccp3", 384, 1)
    tower.pool("pool3", "AVE", 3, 2)  # 4x4
    tower.dropout("drop3", 0.2)
    tower.convolution("conv4", 1024, 3, pad=1)
    tower.features("cccp4", 4)


def xia(tower: Tower) -> None:
    """CNNH's own architecture (Xia et al., AAAI 2014), for 32x32 images.

    32, 64 and 128 filters of 5x5, a fully connected layer and dropout of 0.5 are that
    paper's; the width of that layer is ours.
    """
    _xia_convolutions(tower)
    tower.dropout("drop4", 0.5)
    tower.features("bits", 1)


def _xia_convolutions(tower: Tower) -> None:
    tower.convolution("conv1", 32, 5, pad=2)
    tower.pool("pool1", "MAX", 3, 2)  # 16x16
    tower.convolution("conv2", 64, 5, pad=2)
    tower.pool("pool2", "MAX", 3, 2)  # 8x8
    tower.convolution("conv3", 128, 5, pad=2)
    tower.pool("pool3", "MAX", 3, 2)  # 4x4
    tower.convolution("full4", 500, 4)  # 1x1


def xia_two_layers(tower: Tower) -> None:
    """`xia` with a second fully connected layer, and bits of both (Zhao et al., CVPR 2015).

    As in the authors' code, the first is joined as it is before its dropout.
    """
    _xia_convolutions(tower)
    tower.dropout("drop4", 0.5, in_place=False)
    tower.convolution("full5", 500, 1)
    tower.dropout("drop5", 0.5)
    tower.concat("full", "full4")
    tower.features("bits", 1)


def plain(tower: Tower) -> None:
    """3x3 convolutions for 32x32 images: 0.6 times the MACs per image of `nin`.

    After Simonyan and Zisserman, ICLR 2015; widths and the place of the pooling (before
    the batch normalization) after Jordan, "94% on CIFAR-10 in 3.29 seconds on a single
    GPU", 2024.
    """
    tower.convolution("conv1_1", 32, 3, pad=1)
    tower.convolution("conv1_2", 64, 3, pad=1, pool=2)  # 16x16
    tower.convolution("conv2_1", 64, 3, pad=1)
    tower.convolution("conv2_2", 256, 3, pad=1, pool=2)  # 8x8
    tower.convolution("conv3_1", 256, 3, pad=1)
    tower.convolution("conv3_2", 256, 3, pad=1, pool=2)  # 4x4
    tower.convolution("conv4", 256, 3, pad=1, pool=4)  # 1x1
    tower.features("features", 1)


def residual(tower: Tower) -> None:
    """`plain` with residual blocks (He et al., CVPR 2016): 0.94 times the MACs per image of `nin`."""
    tower.convolution("conv1_1", 32, 3, pad=1)
    tower.convolution("conv1_2", 64, 3, pad=1, pool=2)  # 16x16
    tower.convolution("conv2_1", 64, 3, pad=1)
    tower.convolution("conv2_2", 256, 3, pad=1, pool=2)  # 8x8
    tower.residual("block3", 256)
    tower.residual("block4", 256)
    tower.pool("pool4", "MAX", 2, 2)  # 4x4
    tower.residual("block5", 256)
    tower.pool("pool5", "MAX", 4, 4)  # 1x1
    tower.features("features", 1)


EFFICIENTNET_PIXELS = {"pixel_mean": 127, "pixel_scale": 1 / 128}
EFFICIENTNET_FEATURES = 1280
# Of each stage: blocks, kernel, stride of the first block, expansion, outputs.
_EFFICIENTNET_LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0(tower: Tower) -> None:
    """EfficientNet-Lite0 to its 1,280 features, for images of 32 n + 1 pixels a side.

    After Tan and Le, ICML 2019, without squeeze-and-excitation and with ReLU6. TensorFlow pads
    images of even sides more at the end than at the start; of odd ones, alike, as Caffe does.
    """
    tower.batch_norm_param = {**BATCH_NORM, "eps": 0.001}

    def convolution(name: str, outputs: int, kernel: int, **options: Any) -> None:
        tower.convolution(
            name,
            outputs,
            kernel,
            pad=kernel // 2,
            bias=False,
            **{"activation": "ReLU6", **options},
        )

    convolution("stem", 32, 3, stride=2)
    channels, number = 32, 0
    for blocks, kernel, stride, expansion, outputs in _EFFICIENTNET_LITE0:
        for i in range(blocks):
            name, shortcut, hidden = f"block{number}", tower.top, channels * expansion
            if expansion > 1:
                convolution(f"{name}_expand", hidden, 1)
            convolution(
                f"{name}_depthwise", hidden, kernel, stride=1 if i else stride, groups=hidden
            )
            convolution(f"{name}_project", outputs, 1, activation=None)
            if i:
                tower.add(name, shortcut)
            channels, number = outputs, number + 1
    convolution("head", EFFICIENTNET_FEATURES, 1)
    tower.global_average("average")


PRETRAINED_RATE = 0.2  # ours


def pretrained(tower: Tower) -> None:
    """EfficientNet-Lite0, whose weights are trained already: its 1,280 features for every length.

    50 features a bit, by a further convolution, would have more weights than the tower.
    """
    tower.rate = PRETRAINED_RATE
    efficientnet_lite0(tower)
    tower.end()


def table1(tower: Tower) -> None:
    """Table 1 of the paper, for 224x224 crops of 256x256 images."""
    tower.convolution("conv1", 96, 11, stride=4)  # 54x54
    tower.convolution("cccp1", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)  # 27x27
    # The table's "5x5/2" keeps 27x27: it is read as pad 2, stride 1.
    tower.convolution("conv2", 256, 5, pad=2)
    tower.convolution("cccp2", 256, 1)
    tower.pool("pool2", "MAX", 3, 2)  # 13x13
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("cccp3", 384, 1)
    tower.pool("pool3", "MAX", 3, 2)  # 6x6
    tower.convolution("conv4", 1024, 3, pad=1)
    tower.features("cccp4", 6)


def mnist(tower: Tower) -> None:
    """A net in the manner of `nin`, for 28x28 grey images."""
    tower.convolution("conv1", 64, 5, pad=2)
    tower.convolution("cccp1", 48, 1)
    tower.pool("pool1", "MAX", 2, 2)  # 14x14
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 96, 5, pad=2)
    tower.convolution("cccp2", 96, 1)
    tower.pool("pool2", "AVE", 2, 2)  # 7x7
    tower.dropout("drop2", 0.2)
    tower.convolution("conv3", 96, 3, pad=1)
    tower.features("cccp3", 7)


def digits(tower: Tower) -> None:
    """A small net in the manner of `nin`, for 8x8 digits."""
    tower.convolution("conv1", 32, 3, pad=1)
    tower.convolution("cccp1", 32, 1)
    tower.pool("pool1", "MAX", 2, 2)  # 4x4
    tower.convolution("conv2", 64, 3, pad=1)
    tower.features("cccp2", 4)
