"""Our nets in PyTorch: the same layers, divide-and-encode and loss, without augmentation.

  python benchmarks/torch_net.py nets.json dnnh --triplets 6400 --images 64 --steps 200

prints how long a training step takes on a GPU, a line of JSON for each of PyTorch's memory
formats, and for the second compiled: the batch is copied there, forward, backward, and an update
by SGD with momentum. nets.json has what `describe` returns, by name, so that this file alone,
with PyTorch, is all that a machine with a GPU needs.
"""

import argparse
import json
import os
import time


def describe(spec):
    """What TorchNet needs to know of a NetSpec, as JSON has it."""
    from dnnh.nets import code_layers

    config, bits = spec.config, spec.bits
    tower = Recorder()
    config.architecture(tower)
    return {
        "bits": bits,
        "features_per_bit": code_layers.FEATURES_PER_BIT,
        "channels": config.input.channels,
        "size": config.input.size,
        "pixel_mean": config.input.pixel_mean,
        "pixel_scale": config.input.pixel_scale,
        "batch_norm": config.batch_norm,
        "beta": config.head.beta,
        "shift": config.head.shift(bits),
        "layers": tower.layers,
    }


class Recorder:
    """Takes the layers of an architecture as towers.Tower does, and lists them."""

    def __init__(self):
        self.layers = []

    def convolution(self, name, outputs, kernel, pad=0, stride=1, pool=0):
        self.layers.append(["convolution", outputs, kernel, pad, stride, pool])

    def pool(self, name, method, kernel, stride=1):
        self.layers.append(["pool", method, kernel, stride])

    def dropout(self, name, ratio):
        self.layers.append(["dropout", ratio])

    def features(self, name, size):
        self.layers.append(["features", size])


def modules(net):
    """The modules of a described net, from pixels to features."""
    from torch import nn

    channels, made = net["channels"], []

    def convolution(outputs, kernel, pad=0, stride=1, pool=0):
        nonlocal channels
        made.append(nn.Conv2d(channels, outputs, kernel, stride, pad))
        if pool:
            made.append(nn.MaxPool2d(pool, pool, ceil_mode=True))
        if net["batch_norm"]:
            made.append(nn.BatchNorm2d(outputs))
        made.append(nn.ReLU(inplace=True))
        channels = outputs

    def pool(method, kernel, stride):
        kind = nn.MaxPool2d if method == "MAX" else nn.AvgPool2d
        made.append(kind(kernel, stride, ceil_mode=True))

    def dropout(ratio):
        made.append(nn.Dropout(ratio))

    def features(size):
        convolution(net["features_per_bit"] * net["bits"], 1)
        pool("AVE", size, 1)

    add = {"convolution": convolution, "pool": pool, "dropout": dropout, "features": features}
    for kind, *arguments in net["layers"]:
        add[kind](*arguments)
    return made


class TorchNet:
    """A described net on a batch of random images.

    Parameters
    ----------
    net : dict, see describe
    triplets : int
    images : int
        Triplets are drawn among so many; three images for each by default.
    device : str
        cpu or cuda.
    channels_last, compiled, bfloat16 : bool
        PyTorch's memory format, torch.compile, and automatic mixed precision.
    """

    def __init__(
        self,
        net,
        triplets,
        images=None,
        device="cpu",
        channels_last=False,
        compiled=False,
        bfloat16=False,
    ):
        import torch

        self.torch, self.device, self.bfloat16 = torch, device, bfloat16
        if device == "cpu":
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        bits, features_per_bit = net["bits"], net["features_per_bit"]
        tower = torch.nn.Sequential(*modules(net)).to(device)
        self.weights = torch.randn(bits, features_per_bit, device=device, requires_grad=True)
        normalize = torch.nn.BatchNorm1d(bits, affine=False) if net["batch_norm"] else None
        normalize = normalize.to(device) if normalize else None
        shape = (images or 3 * triplets, net["channels"], net["size"], net["size"])
        pixels = torch.randint(0, 256, shape).float()
        self.positions = None
        if images:
            self.positions = torch.randint(0, images, (3, triplets), device=device)
        if channels_last:
            # PyTorch documents this argument; its types do not have it.
            tower = tower.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        self.host_images = pixels.pin_memory() if device == "cuda" else pixels
        self.net, self.images = tower, pixels.to(device)

        def codes(images):
            values = (images - net["pixel_mean"]) * net["pixel_scale"]
            features = tower(values).reshape(-1, bits, features_per_bit).float()
            encoded = (features * self.weights).sum(-1)
            if normalize:
                encoded = normalize(encoded) * net["beta"] + net["shift"]
            # Epsilon is 0.5 at first: the piece-wise threshold is a clamp to [0, 1].
            return torch.sigmoid(encoded).clamp(0, 1)

        self.codes = torch.compile(codes) if compiled else codes

    def _autocast(self):
        return self.torch.autocast(self.device, self.torch.bfloat16, enabled=self.bfloat16)

    def _seconds(self, action):
        """Of an action; on a GPU until it is done there."""
        start = time.perf_counter()
        action()
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter() - start

    def loss(self):
        """The loss of the batch, as eq. 2 of the paper, the mean over triplets."""
        with self._autocast():
            codes = self.codes(self.images)
        if self.positions is None:
            query, positive, negative = codes.chunk(3)
        else:
            query, positive, negative = (codes.index_select(0, rows) for rows in self.positions)
        hinge = (query - positive).pow(2).sum(1) - (query - negative).pow(2).sum(1) + 1
        return self.torch.relu(hinge).mean()

    def step(self):
        """Seconds forward, and forward and backward; nothing is updated."""
        loss = []
        forward = self._seconds(lambda: loss.append(self.loss()))
        backward = self._seconds(loss[0].backward)
        self.net.zero_grad()
        self.weights.grad = None
        return forward, forward + backward

    def train(self, steps):
        """Mean seconds per training step, after as many warm-up steps."""
        optimizer = self.torch.optim.SGD(
            [*self.net.parameters(), self.weights], lr=1e-4, momentum=0.9, weight_decay=5e-4
        )

        def run():
            for _ in range(steps):
                self.images = self.host_images.to(self.device, non_blocking=True)
                optimizer.zero_grad()
                loss = self.loss()
                loss.backward()
                optimizer.step()
                loss.item()  # Caffe's solver reads the loss in each iteration

        run()
        return self._seconds(run) / steps


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets")
    parser.add_argument("net")
    parser.add_argument("--triplets", type=int, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tf32", action="store_true", help="multiply in TF32")
    arguments = parser.parse_args()
    import torch

    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    torch.backends.cudnn.allow_tf32 = arguments.tf32
    torch.backends.cudnn.benchmark = True  # measures its algorithms, as ours are
    with open(arguments.nets, encoding="utf-8") as file:
        net = json.load(file)[arguments.net]
    for name in ("contiguous", "channels_last", "channels_last, compiled"):
        runner = TorchNet(
            net,
            arguments.triplets,
            arguments.images,
            arguments.device,
            channels_last="channels_last" in name,
            compiled="compiled" in name,
        )
        seconds = runner.train(arguments.steps)
        print(json.dumps({"name": name, "milliseconds": 1000 * seconds}), flush=True)


if __name__ == "__main__":
    main()
