"""A package of models, and modules around it that must not be reached."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PREFIX = "fakenets.nets"

FILES = {
    "fakenets/__init__.py": "",
    "fakenets/elsewhere.py": """
        from torch import nn

        class Outside(nn.Module):
            pass
        """,
    "fakenets/netsevil.py": """
        from torch import nn

        class Net(nn.Module):
            pass
        """,
    "fakenets/nets/__init__.py": """
        import os
        from os import system
        from subprocess import run
        from torch import load, nn
        from fakenets.elsewhere import Outside
        from fakenets.nets.plain import Net, make

        Alias = Net
        """,
    "fakenets/nets/broken.py": "import a_package_that_is_not_there",
    "fakenets/nets/plain.py": """
        from __future__ import annotations
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self, features=4, classes=2, depth=1):
                super().__init__()
                self.first = nn.Conv3d(2, features, 3, padding=1)
                self.rest = nn.Sequential(*(nn.Conv3d(features, features, 1) for _ in range(depth)))
                self.norm = nn.BatchNorm3d(features)
                self.last = nn.Conv3d(features, classes, 1)

            def forward(self, x):
                return self.last(self.norm(self.rest(self.first(x))).relu())

            def decode(self, x):
                return self.last(x)

        def make(features: int = 4) -> Net:
            return Net(features)
        """,
    "fakenets/nets/odd.py": """
        import functools
        import torch
        from torch import nn
        from fakenets.nets.plain import Net

        class Constant(Net):
            '''Computes with values while it is built, and keeps some beside its state dict.'''
            def __init__(self, features=4):
                super().__init__(features)
                self.scale = torch.linspace(0, 1, 3)[2].item()
                self.register_buffer("shift", torch.full((1,), 3.0), persistent=False)

            def forward(self, x):
                return super().forward(x) * self.scale + self.shift

        class Careless(Net):
            '''Computes while it is built, and never writes to one of its buffers.'''
            def __init__(self):
                super().__init__()
                self.scale = torch.linspace(0, 1, 3)[2].item()
                self.register_buffer("room", torch.empty(4096), persistent=False)

        class Tied(Net):
            def __init__(self, features=4):
                super().__init__(features, classes=features)
                self.rest = nn.Sequential(self.last)

        class Huge(Net):
            def __init__(self, **options):
                super().__init__()
                self.others = torch.zeros(1 << 60)

        class Endless(Net):
            def __init__(self):
                super().__init__()
                try:
                    self.others = nn.Sequential(*(nn.Identity() for _ in range(10 ** 9)))
                except Exception:
                    pass

        class Asking(Net):
            def forward(self, x, timestep, encoder_hidden_states):
                return super().forward(x)

        class Wanting(Net):
            def forward(self, x, atlas):
                return super().forward(x)

        class Picky(Net):
            '''Runs on one size alone.'''
            def forward(self, x):
                return super().forward(x).reshape(x.shape[0], 2 * 24 ** 3)

        class Exploding(Net):
            def forward(self, x):
                return x.expand(1 << 20, *x.shape[1:]).clone()

        class Fetching(Net):
            def __init__(self, features=4, pretrained=True):
                super().__init__(features)
                assert not pretrained, "it would have fetched"

        class Planned(Net):
            def __init__(self, input_channels, num_classes, conv_op):
                assert (input_channels, num_classes, conv_op) == (1, 2, nn.Conv3d)
                super().__init__()

        def number(features: int = 4) -> Net:
            return features

        def make(features: int = 4) -> nn.Module:
            return Net(features)
        """,
    "fakenets/nets/tricks.py": """
        import functools
        import subprocess
        from types import FunctionType
        import torch
        from torch import nn
        from fakenets.nets.plain import Net

        class Meta(type):
            def __call__(cls, *args, **options):
                raise AssertionError("the metaclass ran")

            @property
            def __mro__(cls):
                return (cls, nn.Module, object)

        class Forged(metaclass=Meta):
            pass

        class Renamed(nn.Module, metaclass=Meta):
            pass

        class NoModel:
            def __new__(cls):
                raise AssertionError("it ran")

        class Pretending:
            @property
            def __class__(self):
                return type

            __module__ = "fakenets.nets.tricks"
            __qualname__ = "pretending"

            def __call__(self) -> nn.Module:
                raise AssertionError("it ran")

        class Holder:
            class Inner(nn.Module):
                pass

        Inner = Holder.Inner
        pretending = Pretending()
        partial = functools.partial(Net)
        instance = Net()
        nameless = lambda: Net()
        nameless.__annotations__ = {"return": Net}

        class _Private(nn.Module):
            pass

        Public = _Private

        def untold():
            raise AssertionError("it ran")

        def told_something_else() -> dict:
            raise AssertionError("it ran")

        def told_a_program() -> "__import__('os').system('true')":
            raise AssertionError("it ran")

        def _maker():
            def inner() -> Net:
                raise AssertionError("it ran")
            return inner

        inner = _maker()

        def _renamed(function, name):
            copied = FunctionType(function.__code__, function.__globals__, name)
            copied.__module__, copied.__qualname__ = __name__, name
            copied.__annotations__ = {"return": nn.Module}
            return copied

        foreign = _renamed(subprocess.getoutput, "foreign")

        @functools.wraps(Net.forward)
        def wrapping(*args):
            raise AssertionError("it ran")

        wrapping.__module__, wrapping.__qualname__ = __name__, "wrapping"
        wrapping.__wrapped__ = subprocess.getoutput
        wrapping.__annotations__ = {"return": nn.Module}

        def circling() -> Net:
            raise AssertionError("it ran")

        circling.__wrapped__ = circling

        moved = type("moved", (nn.Module,), {"__module__": "fakenets.nets.plain"})
        foreign_class = nn.Conv3d
        """,
}


@pytest.fixture
def fakenets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make a package that can be imported; yield its allowed prefix."""
    for name, text in FILES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    outside = tmp_path / "outside.py"
    outside.write_text("raise AssertionError('code from outside ran')")
    (tmp_path / "packages/fakenets/nets/linked.py").symlink_to(outside)
    alias = ModuleType("os")
    alias.__spec__ = os.__spec__
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setitem(sys.modules, "fakenets.nets.aliased", alias)
    yield PREFIX
    for module in [each for each in sys.modules if each.split(".")[0] == "fakenets"]:
        del sys.modules[module]
