"""JSON texts that can be grown: the header of safetensors, an index, a manifest, a program's."""

from __future__ import annotations

import json
import random
from functools import partial

from tests.growing.programs import Grown, Part, Program, again, long, numbered, once, program
from tests.hostile import multiplies_extents
from tests.hostile.breaks_the_safetensors_header import WEIGHT, around
from tests.hostile.multiplies_extents import Geometry

_SHAPE = b"[1, 4, 1, 1, 1]"
_VALUES = ("null", "0", "-1", '""', "[]", "{}", "1e999", '"F32"', "9223372036854775808")


def safetensors(lot: random.Random) -> Program:
    """Draw a header."""
    metadata = [once(b',"__metadata__":{'), numbered("text: text", _text_of_text), once(b"}")]
    entries = [
        numbered("tensor without bytes", lambda index: _entry(f"{index}.weight", _tensor(16))),
        numbered("weight", lambda index: _entry(f"{index}.weight", _tensor(16 + 16 * index, 16))),
        again(_entry("a", _tensor(16))),
        *_of_many_parts(
            b',"b":' + json.dumps(_tensor(16)).encode(), [b"[0]", b"[16, 16]", b'"F32"']
        ),
    ]
    parts = [*_any(lot, entries), *lot.choice([[], metadata])]
    return program(
        [once(b'{"conv.weight":' + json.dumps(WEIGHT).encode()), *parts, once(b"}")],
        lambda header: around(header, bytes(16 + 16 * header.count(_SHAPE))),
    )


def index(lot: random.Random) -> Program:
    """Draw an index of shards."""
    entries = [
        numbered("key: shard", lambda index: _entry(f"{index}.weight", "a.pt")),
        numbered("key: another shard", lambda index: _entry(f"{index}.bias", f"{index}.pt")),
        again(_entry("a", "a.pt")),
        *_of_many_parts(b',"b":"a.pt"', [b'"a.pt"']),
    ]
    parts = [once(b'{"weight_map":{"conv.weight":"a.pt"'), *_any(lot, entries), once(b"}}")]
    return program(parts)


def manifest(lot: random.Random) -> Program:
    """Draw what a conversion leaves in its artifact."""
    layer = {
        "name": "a", "key": "a", "shape": [1], "stride_before": [1], "stride_after": [1],
    }  # fmt: skip
    one = json.dumps(layer).encode()
    pieces = [
        numbered("layer", lambda index: b"," + json.dumps(layer | {"name": str(index)}).encode()),
        again(b"," + one),
        *_of_many_parts(b"," + one, [b"[1]", b'"a"']),
    ]
    head = b'{"memory_format":"channels_last_3d","layers":[' + one
    return program([once(head), lot.choice(pieces), once(b"]}")])


def exported(lot: random.Random) -> Program:
    """Draw an ExportedProgram: its graph, or what describes its tensors."""
    weight = multiplies_extents.described(Geometry((1, 1, 1, 1, 1), (1, 1, 1, 1, 1)))
    one, node = json.dumps(weight).encode(), b"," + _node(0)
    if lot.random() < 0.5:
        entries = [
            numbered("weight", lambda index: _entry(f"{index}.weight", weight)),
            again(_entry("a", weight)),
            *_of_many_parts(b',"b":' + one, [b'{"as_int": 1}', b"[", b'"weight_0"', b"7"]),
        ]
        parts = [once(b'{"config":{"w":' + one), *_any(lot, entries), once(b"}}")]
        graph = _GRAPH % b"[]"
        return program(parts, lambda config: multiplies_extents.program(graph, config))
    nodes = [
        numbered("node", lambda index: b"," + _node(index)),
        again(node),
        *_of_many_parts(node, [b"[1]", b'"weight"', b"1"]),
    ]
    config = b'{"config":{"w":' + one + b"}}"
    parts = [once(b"[" + _node(0)), lot.choice(nodes), once(b"]")]
    return program(parts, lambda nodes: multiplies_extents.program(_GRAPH % nodes, config))


_GRAPH = (
    b'{"graph_module":{"signature":{"input_specs":[{"parameter":'
    b'{"arg":{"name":"w0"},"parameter_name":"w"}}]},"graph":{"tensor_values":{},"nodes":%s}}}'
)


def _node(index: int) -> bytes:
    arguments = [
        {"name": "weight", "arg": {"as_tensor": {"name": f"w{index}"}}},
        {"name": "stride", "arg": {"as_ints": [1]}},
    ]
    node = {"target": "torch.ops.aten.conv3d.default", "inputs": arguments}
    return json.dumps(node).encode()


def _tensor(start: int, nbytes: int = 0) -> dict[str, object]:
    shape = [1, 4, 1, 1, 1] if nbytes else [0]
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, start + nbytes]}


def _text_of_text(index: int) -> bytes:
    return (b"," if index else b"") + json.dumps(str(index)).encode() + b':"a"'


def _entry(key: str, value: object) -> bytes:
    return f",{json.dumps(key)}:{json.dumps(value)}".encode()


def _any(lot: random.Random, entries: list[Part]) -> list[Part]:
    """Draw entries of an object: right ones, or any."""
    value = lot.choice(_VALUES).encode()
    some = [
        numbered("key: value", lambda index: f',"a{index}":'.encode() + value),
        again(b',"a":' + value),
        long("key", lambda nbytes: b',"' + b"x" * nbytes + b'":' + value),
        long("key of escapes", lambda nbytes: b',"' + rb"\ud800" * (nbytes // 6) + b'":' + value),
        *_of_many_parts(b',"b":0', [b"0"]),
    ]
    return [lot.choice([*entries, *some]) for _ in range(lot.randint(1, 2))]


def _of_many_parts(sound: bytes, places: list[bytes]) -> list[Part]:
    """Return something with a value of any length in one of these places."""
    fills: dict[str, Grown] = {
        "list": lambda nbytes: _listed(b"0", nbytes),
        "list of ones": lambda nbytes: _listed(b"1", nbytes),
        "list of large numbers": lambda nbytes: _listed(b"9" * 18, nbytes),
        "list of longest numbers": lambda nbytes: _listed(b"9" * 4300, nbytes),
        "list of lists": lambda nbytes: _listed(b"[" * 400 + b"]" * 400, nbytes),
        "list of objects": lambda nbytes: _listed(b'{"a":' * 400 + b"0" + b"}" * 400, nbytes),
        "lists": lambda nbytes: b"[" * (nbytes // 2) + b"]" * (nbytes // 2),
        "number": lambda nbytes: b"9" * nbytes,
        "fraction": lambda nbytes: b"1." + b"0" * nbytes + b"1",
        "text": lambda nbytes: b'"' + b"x" * nbytes + b'"',
        "escapes": lambda nbytes: b'"' + rb"\u0041" * (nbytes // 6) + b'"',
        "blanks": lambda nbytes: b" " * nbytes + b"0",
    }
    return [
        long(f"{told} for {place.decode()}", partial(_replaced, sound, place, fill))
        for place in places
        for told, fill in fills.items()
    ]


def _replaced(sound: bytes, place: bytes, fill: Grown, nbytes: int) -> bytes:
    return sound.replace(place, fill(nbytes), 1)


def _listed(value: bytes, nbytes: int) -> bytes:
    return b"[" + b",".join([value] * max(nbytes // (len(value) + 1), 1)) + b"]"
