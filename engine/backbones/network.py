"""What training asks of a network beside running it.
A network that is a plain module gets the plain answers."""

from torch import nn


class Network(nn.Module):
    """A network that answers for itself; a plain `nn.Module`
    is compiled whole and takes over weights itself."""

    def compiled_parts(self) -> list[nn.Module]:
        """What torch.compile compiles, each as one."""
        return [self]

    def parts_within(self) -> list[nn.Module]:
        """What may be compiled where someone needs the derivative of the network's output by its input."""
        return []

    def heir(self) -> nn.Module:
        """The module that takes over the weights of the training that this one starts from."""
        return self


def compiled_parts(net: nn.Module) -> list[nn.Module]:
    """What torch.compile compiles of any network."""
    return net.compiled_parts() if isinstance(net, Network) else [net]


def heir(net: nn.Module) -> nn.Module:
    """The module of any network that takes over weights."""
    return net.heir() if isinstance(net, Network) else net
