"""Before a trn1 instance is paid for: every graph of a step traced here and checked against the compiler's rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tts_lab.devices.lowering import Lowered, lower, require_environment
from tts_lab.preflight.forecast import Work, work
from tts_lab.preflight.hlo import Graph
from tts_lab.preflight.rules import SEVERITIES, Finding, check

LARGE_GRAPH = 100_000  # HLO instructions; neuronx-cc stops at some 5 million of its own, tens for each of these


@dataclass(frozen=True)
class GraphReport:
    """One graph that the run would compile."""

    name: str
    instructions: int
    trace_seconds: float | None
    """Host time to trace it again at every step; None where it cannot be one graph."""
    work: Work
    proto: bytes
    """What ``neuronx-cc compile --framework XLA`` reads."""


@dataclass(frozen=True)
class Preflight:
    """All graphs, and what was found in them."""

    graphs: list[GraphReport]
    findings: list[Finding]

    def __add__(self, other: "Preflight") -> "Preflight":
        return Preflight(self.graphs + other.graphs, _merged([self.findings, other.findings]))

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    def save_hlo(self, folder: Path) -> list[str]:
        """Write every graph as ``NAME.hlo.pb``; returns the lines that compile them on a machine with neuronx-cc."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for graph in self.graphs:
            path = folder / f"{graph.name}.hlo.pb"
            path.write_bytes(graph.proto)
            neff = path.with_suffix(".neff")
            lines.append(f"neuronx-cc compile {path} --framework XLA --target trn1 --output {neff}")
        return lines


def preflight(step: Callable[[Any], Any], batches: Mapping[str, Any]) -> Preflight:
    """Trace ``step`` on each batch in the Neuron lowering, compile nothing, and check what comes out.

    Any PyTorch training step will do: forward, backward and optimizer, on tensors of the device that
    ``tts_lab.devices.lowering.emulate_neuron`` returned.

    Args:
        step: called with one batch.
        batches: by the name its graph shall have; one of each shape that the run will meet.

    Raises:
        UserError: the environment for the Neuron lowering is not set.
    """
    require_environment()
    reports, findings = [], []
    for name, batch in batches.items():
        lowered = lower(step, batch)
        graph = Graph.parse(lowered.text)
        reports.append(GraphReport(name, len(graph.entry), lowered.trace_seconds, work(graph), lowered.proto))
        findings.append([*_cuts(lowered), *check(graph), *_size(graph)])
    return Preflight(reports, _merged(findings))


def _cuts(lowered: Lowered) -> list[Finding]:
    """What keeps the step from being one graph, and the one operation that is silently wrong in it."""
    kinds = [
        (lowered.fallbacks, "fallback to the CPU", "no lowering: the graph is cut, the CPU computes, the device waits",
         "express it in operations that have one: products, masks with `where`, element-wise steps"),
        (lowered.reads, "value read on the host", "the graph is cut and the device waits for it",
         "keep it a tensor: log after the step, choose with `where`, draw lengths and positions on the host"),
        (lowered.wrong, "silently wrong", "computes something else where functionalization is off, Neuron's default",
         "chunk, narrow or slices for a split with sizes; `transpose` for `transpose_`"),
    ]  # fmt: skip
    return [
        Finding(rule, operation.removesuffix(".default"), "error", message, remedy, source, count)
        for counts, rule, message, remedy in kinds
        for (operation, source), count in counts.items()
    ]


def _size(graph: Graph) -> list[Finding]:
    count = len(graph.entry)
    if count < LARGE_GRAPH:
        return []
    return [Finding("large graph", "NCC_EBVF030", "warning", f"{count:,} HLO instructions",
                    "compile it before you count on it; cut the step in two, or shorten it", "")]  # fmt: skip


def _merged(findings: list[list[Finding]]) -> list[Finding]:
    """One finding a rule, code and line, worst first; its count is the largest of any graph."""
    merged: dict[tuple[str, str, str], Finding] = {}
    for finding in (f for group in findings for f in group):
        key = (finding.rule, finding.code, finding.source)
        known = merged.get(key)
        merged[key] = replace(known, count=max(known.count, finding.count)) if known else finding
    return sorted(merged.values(), key=lambda f: (SEVERITIES.index(f.severity), f.rule, f.code, f.source))
