"""The layers from images to codes, which training and deployment share."""

from dnnh.nets.net_config import (
    EncodingHead,
    InputConfig,
    SlopeSigmoidHead,
    Triplets,
    TripletsAmongImages,
)
from dnnh.nets.specs import NetSpec
from dnnh.nets.towers import BATCH_NORM, WEIGHTS_AND_BIASES, Message, Tower, layer

FEATURES_PER_BIT = 50  # the paper, section 3.3


def pixels(images: InputConfig, top: str = "pixels") -> list[Message]:
    """Bytes to centred, scaled values, of another size if the tower's images have one: inside the
    net, so that training and deployment agree."""
    power_param = {
        "scale": images.pixel_scale,
        "shift": -images.pixel_mean * images.pixel_scale,
    }
    if images.resize is None:
        return [layer("pixels", "Power", ["images"], [top], power_param=power_param)]
    return [
        layer("pixels", "Power", ["images"], ["small_pixels"], power_param=power_param),
        layer("resize", "Resize", ["small_pixels"], [top], resize_param={"size": images.resize}),
    ]


def pixels_of_towers(spec: NetSpec) -> Message:
    """The layer that gives each of two towers its pixels: P the queries, Q the others."""
    tops = [f"{tower}pixels" for tower in spec.config.towers]
    batch = spec.config.batch
    if isinstance(batch, TripletsAmongImages):  # any image may be a query
        return layer("both_pixels", "Split", ["pixels"], tops)
    assert isinstance(batch, Triplets)
    slice_param = {"axis": 0, "slice_point": [batch.triplets]}
    return layer("triplet_pixels", "Slice", ["pixels"], tops, slice_param=slice_param)


def tower_and_codes(spec: NetSpec, tower: str, lengths: dict[str, int]) -> list[Message]:
    """The layers that training and deployment share: pixels to codes of some lengths.

    ``tower`` is the prefix of the sub-network; ``lengths`` has the bits by prefix.
    """
    config = spec.config
    # Other heads take the outputs of the last convolution as they are.
    encodes = isinstance(config.head, EncodingHead)
    features_per_bit = FEATURES_PER_BIT if encodes else 1
    stack = Tower(
        f"{tower}pixels",
        {head: features_per_bit * bits for head, bits in lengths.items()},
        batch_norm=config.batch_norm,
        prefix=tower,
        relu_features=encodes,
    )
    config.architecture(stack)
    layers = stack.layers
    for head, bits in lengths.items():
        features, prefix = stack.features_of[head], tower + head
        if isinstance(config.head, EncodingHead):
            layers += _encode(spec, config.head, prefix, bits, features)
        else:
            layers += _bits_as_they_are(spec, prefix, features)
    return layers


def _bits_as_they_are(spec: NetSpec, prefix: str, features: str) -> list[Message]:
    """The heads of other methods, whose last convolution has an output for each bit."""
    outputs, codes = f"{prefix}outputs", f"{prefix}codes"
    flat = layer(outputs, "Flatten", [features], [outputs])
    head = spec.config.head
    if not isinstance(head, SlopeSigmoidHead):
        return [flat, layer(codes, "Sigmoid", [outputs], [codes])]
    slope_sigmoid_param = {
        "slope": head.slope,
        "gamma": head.gamma,
        # So many steps, the last one before the end.
        "stepsize": -(-spec.schedule_config.solver.max_iter // (head.steps + 1)),
    }
    return [
        flat,
        layer(codes, "SlopeSigmoid", [outputs], [codes], slope_sigmoid_param=slope_sigmoid_param),
    ]


def _encode(
    spec: NetSpec, head: EncodingHead, prefix: str, bits: int, features: str
) -> list[Message]:
    """The divide-and-encode module of the paper's section 3.3, or its ablation."""
    encode, normalize, beta, sigmoid, codes = (
        prefix + name for name in ("encode", "normalize", "beta", "sigmoid", "codes")
    )
    inner_products = {
        "num_output": bits,
        "bias_term": True,
        "weight_filler": {"type": "xavier"},
        "bias_filler": {"type": "constant"},
    }
    if head.fully_connected:  # figure 2b
        kind, field = "InnerProduct", "inner_product_param"
    else:  # figure 2a
        kind, field = "DivideAndEncode", "divide_and_encode_param"
    layers = [
        layer(
            encode, kind, [features], [encode], param=WEIGHTS_AND_BIASES, **{field: inner_products}
        )
    ]
    before_sigmoid = encode
    if spec.config.batch_norm:
        # Once trained, both are a constant factor and bias of each bit.
        power_param = {"scale": head.beta}
        if head.shift(bits):
            power_param["shift"] = head.shift(bits)
        layers += [
            layer(normalize, "BatchNorm", [encode], [normalize], batch_norm_param=BATCH_NORM),
            layer(beta, "Power", [normalize], [beta], power_param=power_param),
        ]
        before_sigmoid = beta
    elif head.beta != 1 or head.bit_bias:
        raise ValueError("beta and a bit bias are of normalized bits: batch_norm is False")
    threshold = {
        "epsilon": 0.5,
        "gamma": 0.8,
        "stepsize": spec.schedule_config.epsilon_stepsize,
    }
    return [
        *layers,
        layer(sigmoid, "Sigmoid", [before_sigmoid], [sigmoid]),
        layer(codes, "PiecewiseThreshold", [sigmoid], [codes], piecewise_threshold_param=threshold),
    ]
