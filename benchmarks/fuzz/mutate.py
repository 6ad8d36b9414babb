"""Spoilt copies of a healthy file: bits flipped, ends cut off, lengths that lie, values of another type."""

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import yaml

NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\n\n", b"|", b",", b'"', b"'", b"(", b")", b"\\", b"../", b"/",
    b"..\\", b"C:\\", b"%2e%2e%2f", b"{", b"}", b"[", b"]", b":", b"- ", b"&a ", b"*a", b"!!python/tuple",
    b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"99999999999999999999", b"RIFF", b"data", b"fmt ",
    b"fLaC", b"OggS", b"ID3", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x80\x02", b"\x80\x04",
    b"cos\nsystem\n", b"R", b".",
    b"\xed\xa0\x80", "é".encode("latin-1"), "Я".encode("utf-16-le"), b"segment_index,text\n", b"file_name,text\n",
)  # fmt: skip
"""What has a meaning to one reader or another."""
VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda r: None, lambda r: True, lambda r: r.choice((-1, 0, 1, 2**31, 2**63, -(2**70), 10**400)),
    lambda r: r.choice((0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"))),
    lambda r: r.choice(("", "x", "1", "../../canary", "/etc/passwd", "a\0b", "é\ud800", "NaN", "x" * 5000)),
    lambda r: [], lambda r: {}, lambda r: [[]], lambda r: {"": {}}, lambda r: [1, "a", None], lambda r: {"id": "x"},
)  # fmt: skip
"""Values of every type, for where one of another type belongs."""
DEEP = 100_000


def spoil(name: str, data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A spoilt copy of the file `name`, one to four times over; `others` are files to splice with."""
    suffix = PurePath(name).suffix
    structured = _BY_FORM.get(suffix)
    text = suffix in (".csv", ".txt", ".data")
    for _ in range(rng.choice((1, 1, 2, 4))):
        if structured and rng.random() < 0.6:
            try:
                data = structured(data, rng)
                continue
            except Exception:
                pass  # it was spoilt too far to be taken apart
        elif text and rng.random() < 0.5:
            data = _lines(data, rng)
            continue
        data = rng.choice(_OF_BYTES)(data, others, rng)
    return data


def _flip(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64)) if made else 0):
        made[_place(made, rng)] ^= 1 << rng.randrange(8)
    return bytes(made)


def _cut(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))] if rng.random() < 0.8 else data[rng.randint(0, len(data)) :]


def _remove(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    begin, length = _place(data, rng), rng.choice((1, 2, 4, 16, 200))
    return data[:begin] + data[begin + length :]


def _repeat(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    begin, length = _place(data, rng), rng.choice((1, 4, 16, 200, 4000))
    block = data[begin : begin + length]
    return data[:begin] + block * rng.choice((2, 3, 20, 500)) + data[begin + length :]


def _splice(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _token(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at, token = _place(data, rng), rng.choice(TOKENS) * rng.choice((1, 1, 1, 2, 50))
    return data[:at] + token + data[at + (len(token) if rng.random() < 0.5 else 0) :]


def _number(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A length, an offset or a count that is another, in either byte order."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    at, number = _place(data, rng), rng.choice(NUMBERS) + rng.choice((0, 0, 1, -1))
    return data[:at] + (number % 256**size).to_bytes(size, order) + data[at + size :]


def _noise(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at, length = _place(data, rng), rng.choice((1, 4, 30, 500))
    return data[:at] + rng.randbytes(length) + data[at + length :]


_OF_BYTES = (_flip, _cut, _remove, _repeat, _splice, _token, _number, _number, _noise)


def _place(data: bytes | bytearray, rng: random.Random) -> int:
    """Somewhere in it; headers, which stand at the beginning, more often."""
    return rng.randrange(max(1, min(len(data), rng.choice((64, 512, len(data) or 1)))))


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    fields = re.split(rb"([|,])", lines[at])
    match rng.randrange(8):
        case 0:
            lines[at:at] = [lines[at]] * rng.choice((1, 30))
        case 1:
            del lines[at]
        case 2:
            rng.shuffle(lines)
        case 3:
            lines[at] = lines[at] * rng.choice((2, 100, 5000))
        case 4:
            lines[at] += rng.choice((b"|", b",", b'"')) * rng.choice((1, 3, 20_000))
        case 5:
            fields[rng.randrange(len(fields))] = rng.choice(TOKENS) * rng.choice((1, 10))
            lines[at] = b"".join(fields)
        case 6:
            rng.shuffle(fields)
            lines[at] = b"".join(fields)
        case _:
            encoding = rng.choice(("utf-16", "utf-16-be", "latin-1", "utf-32", "utf-7", "koi8-r"))
            return data.decode(errors="replace").encode(encoding, errors="replace")
    return b"\n".join(lines)


def respoil(value: Any, rng: random.Random) -> Any:
    """`value`, of JSON's types, with something in it of another type, missing, renamed, repeated or very deep."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        made, key = dict(value), rng.choice(list(value))
        match rng.randrange(10):
            case 0:
                del made[key]
            case 1:
                made[rng.choice(("", "x", key.upper() if isinstance(key, str) else "y"))] = made.pop(key)
            case _:
                made[key] = respoil(made[key], rng)
        return made
    if isinstance(value, list) and value and rng.random() < 0.85:
        made, at = list(value), rng.randrange(len(value))
        match rng.randrange(10):
            case 0:
                del made[at]
            case 1:
                made[at:at] = [made[at]] * rng.choice((1, 100))
            case _:
                made[at] = respoil(made[at], rng)
        return made
    if isinstance(value, int | float) and rng.random() < 0.3:
        return value * rng.choice((-1, 0, 2, 1000, 10**12))
    return rng.choice(VALUES)(rng)


def _json(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.02:
        return rng.choice((b"[", b'{"a":', b'[{"a":')) * DEEP
    value, oneline = json.loads(data), rng.random() < 0.5
    if b'"utterances": [\n' in data and not oneline:  # keep to the lines of a corpus.json
        return _in_lines(data, rng)
    return json.dumps(respoil(value, rng), indent=None if oneline else 1).encode(errors="replace")


def _lines_of_json(data: bytes, rng: random.Random) -> bytes:
    return b"\n".join(_one_line(data.split(b"\n"), rng))


def _in_lines(data: bytes, rng: random.Random) -> bytes:
    return b"\n".join(_one_line(data.split(b"\n"), rng))


def _one_line(lines: list[bytes], rng: random.Random) -> list[bytes]:
    """Of lines that are each a JSON value, with or without a comma, one spoilt."""
    chosen = [at for at, line in enumerate(lines) if line.rstrip(b",").startswith(b"{") and len(line) > 2]
    at = rng.choice(chosen)
    comma = b"," if lines[at].endswith(b",") else b""
    lines[at] = json.dumps(respoil(json.loads(lines[at].rstrip(b",")), rng)).encode(errors="replace") + comma
    return lines


def _yaml(data: bytes, rng: random.Random) -> bytes:
    match rng.randrange(12):
        case 0:
            bomb = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'lol'] * 9)}]" for i in range(30))
            return bomb.encode() + b"\n" + data
        case 1:
            tag = rng.choice(
                ("!!python/object/apply:os.system ['touch canary']", "!!python/name:os.system", "!!python/tuple [1]",
                 "!!binary '@'", "!!timestamp 2024-99-99", "!!int abc", "!!set {a, b}", "!unknown 1")
            )  # fmt: skip
            lines = data.split(b"\n")
            lines.insert(rng.randrange(len(lines)), f"{rng.choice(('run', 'seed', 'x'))}: {tag}".encode())
            return b"\n".join(lines)
        case 2:
            return data + rng.choice((b"x: " + b"[" * DEEP, b"x: " + b"{a: " * 2000, b"x: &x [*x]\n", b"? " * 3000))
    spoilt = respoil(yaml.safe_load(data), rng)
    return yaml.safe_dump(spoilt, allow_unicode=True).encode(errors="replace")


def _archive(data: bytes, rng: random.Random) -> bytes:
    """A zip archive with one of its files spoilt, gone, twice, swapped, packed, or in another folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [(info.filename, archive.read(info)) for info in archive.infolist()]
    pickled = next(at for at, (name, _) in enumerate(files) if name.endswith("data.pkl"))
    at, how, packed = rng.randrange(len(files)), rng.randrange(10), zipfile.ZIP_STORED
    if how < 5:  # the pickle, where everything is said
        files[pickled] = (files[pickled][0], _pickle(files[pickled][1], rng))
    elif how == 5:
        del files[at]
    elif how == 6:
        files[at] = (files[at][0], rng.choice((b"", b"\0" * 5000, files[rng.randrange(len(files))][1])))
    elif how == 7:
        files.append((rng.choice(("../canary", "/canary", files[at][0], files[at][0].rpartition("/")[0])), b"x"))
    elif how == 8:
        packed = zipfile.ZIP_DEFLATED
        files[at] = (files[at][0], files[at][1] + b"\0" * rng.choice((0, 1000, 3_000_000)))
    else:
        files = [(f"{rng.choice(('a', 'b', '..'))}/{name.partition('/')[2]}", content) for name, content in files]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packed) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return made.getvalue()


def _pickle(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return rng.choice((_flip, _remove, _repeat, _number, _token))(data, [data], rng)
    instruction = rb"K.|M..|J....|X....|h.|q.|c[\w.]+\n\w+\n|[)}\]tbesuR\x85\x86\x87\x88\x89]"
    found = list(re.finditer(instruction, data, re.DOTALL))
    one, other = rng.choice(found), rng.choice(found)
    how = rng.randrange(4)
    if how == 0:  # a number of another size: a shape, a stride, an offset
        return data[: one.start()] + b"\x8a\x08" + rng.choice(NUMBERS).to_bytes(8, "little") + data[one.end() :]
    if how == 1:
        name = rng.choice(
            (b"os system", b"builtins eval", b"builtins bytearray", b"torch FloatStorage", b"torch Tensor",
             b"__builtin__ exec", b"subprocess Popen", b"numpy dtype", b"collections Counter")
        )  # fmt: skip
        return data[: one.start()] + b"c" + name.replace(b" ", b"\n") + b"\n" + data[one.end() :]
    return data[: one.start()] + other[0] + data[one.end() if how == 2 else one.start() :]


def _graph(data: bytes, rng: random.Random) -> bytes:
    """An ONNX file with a node, a tensor or an attribute of its graph spoilt."""
    import onnx

    model = onnx.load_from_string(data)
    graph = model.graph
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    huge = rng.choice((-1, 0, 1, 2, 1000, 2**31, 2**40, 2**62))
    match rng.randrange(12):
        case 0 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = huge
        case 1:
            tensor.data_type = rng.randrange(30)
        case 2:
            tensor.raw_data = tensor.raw_data[: rng.randint(0, len(tensor.raw_data))]
        case 3:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            where = rng.choice(("/etc/passwd", "../../canary", "canary", "https://example.org/x", "\0", ""))
            tensor.external_data.add(key="location", value=where)
            tensor.external_data.add(key="length", value=str(huge))
        case 4:
            tensor.name = rng.choice(graph.initializer).name
        case 5:
            del graph.node[rng.randrange(len(graph.node))]
        case 6:
            node.op_type = rng.choice(graph.node).op_type
        case 7:
            numbers = [a for n in graph.node for a in n.attribute if a.ints or a.HasField("i")]
            attribute = rng.choice(numbers)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = huge
            else:
                attribute.i = huge
        case 8 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(rng.choice(graph.node).output)
        case 9:
            del node.input[:], node.output[rng.randrange(2) :]
        case 10:
            del node.attribute[:]
        case _:
            model.opset_import[0].version = rng.choice((0, 1, 7, 99, 2**40))
            node.domain = rng.choice(("", "ai.onnx.ml", "com.evil"))
    return model.SerializeToString()


_BY_FORM = {".json": _json, ".jsonl": _lines_of_json, ".yaml": _yaml, ".ckpt": _archive, ".onnx": _graph}
