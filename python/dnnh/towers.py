"""Towers: stacks of convolutions from an image's pixels to its 50 q features.

Each is a function of a Tower, which it adds layers to. The paper gives one, for
256x256 images, and says how it is made: Network in Network's way, 1x1 convolutions
behind those with larger filters, and an average for a last layer.

Sources: Lai, Pan, Liu, Yan, CVPR 2015 (here "the paper"), section 3.2 and table 1;
Lin, Chen, Yan, "Network in Network", ICLR 2014.
"""

import textwrap


def block(kind, *lines):
    """``kind { lines }``, lines indented; None among the lines is left out."""
    body = "\n".join(line for line in lines if line is not None)
    return f"{kind} {{\n{textwrap.indent(body, '  ')}\n}}"


def layer(name, kind, bottoms, tops, *lines):
    return block(
        "layer",
        f'name: "{name}"', f'type: "{kind}"',
        *(f'bottom: "{b}"' for b in bottoms), *(f'top: "{t}"' for t in tops),
        *lines)


# The running mean and variance look back over some 50 iterations.
BATCH_NORM = "batch_norm_param { moving_average_fraction: 0.98 }"
WEIGHT_RATES = ("param { lr_mult: 1 decay_mult: 1 }",
                "param { lr_mult: 2 decay_mult: 0 }")


class Tower:
    """Stacks layers, each on the one before.

    ``normalize`` puts a batch normalization between each convolution and its ReLU
    (Ioffe and Szegedy, ICML 2015). ``prefix`` comes before the name of each layer.
    ``heads`` has the number of features by a further prefix: one tower may end in
    features for codes of several lengths. Then ``features_of`` has the blob of each.
    ``rectify`` False leaves out the ReLU behind the features.
    """

    def __init__(self, bottom, heads, normalize=False, prefix="", rectify=True):
        self.top = bottom
        self.layers = []
        self.heads = heads
        self.features_of = {}
        self.normalize = normalize
        self.prefix = prefix
        self.rectify = rectify

    def _add(self, name, kind, *lines, in_place=False):
        name = self.prefix + name
        top = self.top if in_place else name
        self.layers.append(layer(name, kind, [self.top], [top], *lines))
        self.top = top

    def convolution(self, name, outputs, kernel, pad=0, stride=1, pool=0, rectify=True):
        """A convolution and its ReLU, which the paper's table 1 leaves out.

        ``rectify`` False: no ReLU.
        ``pool`` above 0: the maximum of each square of that side is taken before the
        normalization, which then has fewer values to normalize.
        """
        self._add(name, "Convolution", *WEIGHT_RATES, block(
            "convolution_param",
            f"num_output: {outputs}", f"kernel_size: {kernel}",
            f"pad: {pad}" if pad else None,
            f"stride: {stride}" if stride > 1 else None,
            'weight_filler { type: "msra" }',
            'bias_filler { type: "constant" }'))
        if pool:
            self.pool(f"pool_{name}", "MAX", pool, pool)
        if self.normalize:
            self._add(f"bn_{name}", "BatchNorm", BATCH_NORM, in_place=True)
            self._add(f"scale_{name}", "Scale", "param { decay_mult: 0 }",
                      "param { decay_mult: 0 }", "scale_param { bias_term: true }",
                      in_place=True)
        if rectify:
            self._add(f"relu_{name}", "ReLU", in_place=True)

    def pool(self, name, method, kernel, stride=1):
        self._add(name, "Pooling", block(
            "pooling_param", f"pool: {method}", f"kernel_size: {kernel}",
            f"stride: {stride}"))

    def features(self, name, size):
        """The last convolution, 1x1, and the average over its size x size outputs."""
        trunk = self.top
        for head, features in self.heads.items():
            self.top = trunk
            self.convolution(head + name, features, 1, rectify=self.rectify)
            if size > 1:
                self.pool(f"{head}features", "AVE", size)
            self.features_of[head] = self.top

    def dropout(self, name, ratio):
        self._add(name, "Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}",
                  in_place=True)


def nin(tower):
    """Network in Network's CIFAR-10 net with 50 q outputs, for 32x32 images."""
    tower.convolution("conv1", 192, 5, pad=2)
    tower.convolution("cccp1", 160, 1)
    tower.convolution("cccp2", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)                       # 16x16
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 192, 5, pad=2)
    tower.convolution("cccp3", 192, 1)
    tower.convolution("cccp4", 192, 1)
    tower.pool("pool2", "AVE", 3, 2)                       # 8x8
    tower.dropout("drop2", 0.2)
    tower.convolution("conv3", 192, 3, pad=1)
    tower.convolution("cccp5", 192, 1)
    tower.features("cccp6", 8)


def lai(tower):
    """The layout a public reimplementation attributes to the authors' code."""
    tower.convolution("conv1", 96, 5, pad=2)
    tower.convolution("cccp1", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)                       # 16x16
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 256, 5, pad=2)
    tower.convolution("cccp2", 256, 1)
    tower.pool("pool2", "MAX", 3, 2)                       # 8x8
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("cccp3", 384, 1)
    tower.pool("pool3", "AVE", 3, 2)                       # 4x4
    tower.dropout("drop3", 0.2)
    tower.convolution("conv4", 1024, 3, pad=1)
    tower.features("cccp4", 4)


def xia(tower):
    """CNNH's own layout (Xia et al., AAAI 2014), for 32x32 images.

    32, 64 and 128 filters of 5x5, a fully connected layer and dropout of 0.5 are the
    paper's; the width of that layer is ours.
    """
    tower.convolution("conv1", 32, 5, pad=2)
    tower.pool("pool1", "MAX", 3, 2)                       # 16x16
    tower.convolution("conv2", 64, 5, pad=2)
    tower.pool("pool2", "MAX", 3, 2)                       # 8x8
    tower.convolution("conv3", 128, 5, pad=2)
    tower.pool("pool3", "MAX", 3, 2)                       # 4x4
    tower.convolution("full4", 500, 4)                     # 1x1
    tower.dropout("drop4", 0.5)
    tower.features("bits", 1)


def plain(tower):
    """3x3 convolutions for 32x32 images: three fifths of `nin`'s multiplications.

    After Simonyan and Zisserman, ICLR 2015; widths and the place of the pooling
    (in front of the normalization) after Jordan, "94% on CIFAR-10 in 3.29 seconds
    on a single GPU", 2024.
    """
    tower.convolution("conv1_1", 32, 3, pad=1)
    tower.convolution("conv1_2", 64, 3, pad=1, pool=2)     # 16x16
    tower.convolution("conv2_1", 64, 3, pad=1)
    tower.convolution("conv2_2", 256, 3, pad=1, pool=2)    # 8x8
    tower.convolution("conv3_1", 256, 3, pad=1)
    tower.convolution("conv3_2", 256, 3, pad=1, pool=2)    # 4x4
    tower.convolution("conv4", 256, 3, pad=1, pool=4)      # 1x1
    tower.features("features", 1)


def table1(tower):
    """Table 1 of the paper, for 224x224 crops of 256x256 images."""
    tower.convolution("conv1", 96, 11, stride=4)           # 54x54
    tower.convolution("cccp1", 96, 1)
    tower.pool("pool1", "MAX", 3, 2)                       # 27x27
    # The table's "5x5/2" keeps 27x27: it is read as pad 2, stride 1.
    tower.convolution("conv2", 256, 5, pad=2)
    tower.convolution("cccp2", 256, 1)
    tower.pool("pool2", "MAX", 3, 2)                       # 13x13
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("cccp3", 384, 1)
    tower.pool("pool3", "MAX", 3, 2)                       # 6x6
    tower.convolution("conv4", 1024, 3, pad=1)
    tower.features("cccp4", 6)


def mnist(tower):
    """A net in the manner of `nin`, for 28x28 images in grey."""
    tower.convolution("conv1", 64, 5, pad=2)
    tower.convolution("cccp1", 48, 1)
    tower.pool("pool1", "MAX", 2, 2)                       # 14x14
    tower.dropout("drop1", 0.2)
    tower.convolution("conv2", 96, 5, pad=2)
    tower.convolution("cccp2", 96, 1)
    tower.pool("pool2", "AVE", 2, 2)                       # 7x7
    tower.dropout("drop2", 0.2)
    tower.convolution("conv3", 96, 3, pad=1)
    tower.features("cccp3", 7)


def digits(tower):
    """A small net in the manner of `nin`, for 8x8 digits."""
    tower.convolution("conv1", 32, 3, pad=1)
    tower.convolution("cccp1", 32, 1)
    tower.pool("pool1", "MAX", 2, 2)                       # 4x4
    tower.convolution("conv2", 64, 3, pad=1)
    tower.features("cccp2", 4)
