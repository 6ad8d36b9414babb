"""A graph as the compiler would get it: HLO text, read into instructions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4,
         "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}  # fmt: skip

_TYPE = re.compile(r"([a-z][a-z0-9]*)\[([^\]]*)\]")
_OPERAND = re.compile(r"([a-z][a-z0-9]*)\[([^\]]*)\](?:\{[^}]*\})? %([\w.-]+)")
_HEAD = re.compile(r"\s*(ROOT )?%([\w.-]+) = ")
_COMPUTATION = re.compile(r"(ENTRY )?%([\w.-]+) \(.*\{\s*$")
_SCOPE = re.compile(r'op_name="([^"]+\.py)_(\d+)[./]')  # as devices.lowering names what it traces


@dataclass(frozen=True)
class Array:
    """A type: ``f32[2,3]`` is ``Array("f32", (2, 3))``; a dimension that is not a number is -1."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * BYTES.get(self.dtype, 1)


@dataclass(frozen=True)
class Instruction:
    """One line of HLO."""

    name: str
    opcode: str
    results: tuple[Array, ...]
    """One, or the parts of a tuple."""
    operands: tuple[Array, ...]
    operand_names: tuple[str, ...]
    attributes: str
    """What stands after the operands: ``window={size=1x3}, dim_labels=...``; a constant's value, too."""
    root: bool
    source: str
    """``file:line`` of the Python that asked for it, or "" where it was not recorded."""

    def attribute(self, name: str) -> str | None:
        """The text after ``name=``, up to the next comma or the closing brace."""
        found = re.search(rf"\b{name}=(\{{[^}}]*\}}|[^\s,}}]+)", self.attributes)
        return found[1] if found else None

    def window(self, name: str) -> tuple[int, ...]:
        """A field of ``window={...}`` as numbers, e.g. ``size=1x3``; empty where it is trivial and left out."""
        found = re.search(rf"\b{name}=([\dx]+)", self.attribute("window") or "")
        return tuple(int(n) for n in found[1].split("x")) if found else ()


@dataclass
class Graph:
    """A module: its entry computation and the small ones that reductions call."""

    text: str
    computations: dict[str, list[Instruction]] = field(default_factory=dict)
    entry_name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Graph":
        """Read the text that ``torch_xla`` prints."""
        graph, current = cls(text), None
        for line in text.splitlines():
            if head := _COMPUTATION.match(line):
                current = graph.computations.setdefault(head[2], [])
                graph.entry_name = head[2] if head[1] else graph.entry_name
            elif current is not None and (start := _HEAD.match(line)):
                current.append(_instruction(line, start))
        return graph

    @property
    def entry(self) -> list[Instruction]:
        return self.computations[self.entry_name]

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        """The entry's instructions."""
        return {instruction.name: instruction for instruction in self.entry}

    def __iter__(self) -> Iterator[Instruction]:
        for instructions in self.computations.values():
            yield from instructions

    def called(self, instruction: Instruction) -> list[Instruction]:
        """The computation that ``instruction`` applies, e.g. the addition of a reduction; empty where there is none."""
        name = instruction.attribute("to_apply")
        return self.computations.get(name.lstrip("%"), []) if name else []


def _instruction(line: str, start: re.Match) -> Instruction:
    rest = line[start.end() :]
    cut = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    types, call = rest[:cut], rest[cut:].lstrip()
    opcode, opened = call[: call.index("(")], call.index("(")
    closed = _closing(call, opened)
    arguments, attributes = call[opened + 1 : closed], call[closed + 1 :]
    source = _SCOPE.search(attributes)
    operands = _OPERAND.findall(arguments)
    return Instruction(
        name=start[2], opcode=opcode,
        results=tuple(_array(*found) for found in _TYPE.findall(types)),
        operands=tuple(_array(dtype, shape) for dtype, shape, _ in operands),
        operand_names=tuple(name for _, _, name in operands),
        attributes=arguments + attributes if opcode in ("constant", "parameter") else attributes,
        root=bool(start[1]), source=f"{source[1]}:{source[2]}" if source else "",
    )  # fmt: skip


def _array(dtype: str, shape: str) -> Array:
    return Array(dtype, tuple(int(n) if n.strip().isdigit() else -1 for n in shape.split(",") if n.strip()))


def _closing(text: str, opened: int) -> int:
    depth = 0
    for position in range(opened, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return len(text) - 1
