"""The findings and the forecast, for the terminal and for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tts_lab.devices.instances import Instance
from tts_lab.preflight import Preflight
from tts_lab.preflight.forecast import ASSUMPTIONS, seconds
from tts_lab.preflight.rules import Finding
from tts_lab.preflight.run import RunPreflight

COLOURS = {"error": "red", "warning": "yellow"}


def to_dict(run: RunPreflight, instance: Instance, hourly_rate: float | None = None) -> dict[str, Any]:
    """Plain types only; times in seconds as a range, sizes in bytes.

    Args:
        hourly_rate: of all instances of the run, in any currency; the price is then in it.
    """
    graphs = []
    for graph in run.preflight.graphs:
        times = seconds(graph.work, instance, run.bf16)
        graphs.append(
            {"name": graph.name, "runs": run.runs[graph.name], "instructions": graph.instructions,
             "trace_seconds": graph.trace_seconds, **asdict(graph.work), "seconds": list(times)}
        )  # fmt: skip
    training = [graph for graph in graphs if "validate" not in graph["name"]]
    total, trained = ([sum(g["runs"] * g["seconds"][i] for g in kind) for i in range(2)] for kind in (graphs, training))
    native = run.native
    return {
        "instance": asdict(instance), "bf16": run.bf16, "assumptions": ASSUMPTIONS, "graphs": graphs,
        "epoch_seconds": [time * run.steps_per_epoch / run.steps for time in trained], "run_seconds": total,
        "price": [hourly_rate * time / 3600 for time in total] if hourly_rate else None,
        "findings": [asdict(finding) for finding in run.preflight.findings],
        "native": native and {
            "name": native.name, "instructions": native.instructions, "trace_seconds": native.trace_seconds
        },
    }  # fmt: skip


def show(run: RunPreflight, forecast: dict[str, Any]) -> None:
    """Print both tables."""
    console = Console()
    console.print(findings_table(run.preflight))
    console.print(forecast_table(forecast))
    if native := forecast["native"]:
        chosen = next(graph for graph in forecast["graphs"] if graph["name"] == native["name"])
        console.print(f"Convolutions as products, {native['name']}: {_size(chosen)}. All native: {_size(native)}.")
    epoch, whole = _span(forecast["epoch_seconds"]), _span(forecast["run_seconds"])
    price = f", {forecast['price'][0]:.2f} to {forecast['price'][1]:.2f} to pay" if forecast["price"] else ""
    console.print(f"One process a core: an epoch in {epoch}, the whole run in {whole}{price}.")
    console.print(f"A forecast, not a measurement. Assumed: {forecast['assumptions']}.", style="dim")


def rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Findings by rule and code: what, what to do, and the Python lines with how often."""
    groups = [list(group) for _, group in groupby(findings, key=lambda f: (f.severity, f.rule, f.code))]
    return [
        {
            "severity": group[0].severity,
            "rule": f"{group[0].rule} {group[0].code}".strip(),
            "what": group[0].message,
            "what to do": group[0].remedy,
            "where": ", ".join(f"{_short(f.source) or 'unknown line'} ({f.count})" for f in group),
        }
        for group in groups
    ]


def findings_table(result: Preflight) -> Table:
    """One row a rule and code, with the Python lines it fired at."""
    counts = {s: sum(f.severity == s for f in result.findings) for s in COLOURS}
    table = Table(title=f"Preflight: {counts['error']} errors, {counts['warning']} warnings", show_lines=True)
    for column in ("rule", "what to do", "where, and how often"):
        table.add_column(column, overflow="fold")
    for row in rows(result.findings):
        rule = f"{row['severity']}: {row['rule']}\n{row['what']}"
        table.add_row(rule, row["what to do"], row["where"].replace(", ", "\n"), style=COLOURS[row["severity"]])
    return table


def forecast_table(forecast: dict[str, Any]) -> Table:
    """One row a graph."""
    instance = forecast["instance"]
    table = Table(title=f"Forecast for one core of {instance['name']}, {'bf16' if forecast['bf16'] else 'float32'}")
    for column in ("graph", "runs", "HLO instructions", "tracing, s", "TFLOP", "memory, GB", "once, s"):
        table.add_column(column, justify="left" if column == "graph" else "right")
    for graph in forecast["graphs"]:
        trace = _trace(graph)
        memory = (
            f"{graph['state_bytes'] / 1e9:.1f} to {graph['peak_bytes'] / 1e9:.1f} of {instance['memory'] / 1e9:.0f}"
        )
        once = " to ".join(f"{time:.2f}" for time in graph["seconds"])
        flops = f"{graph['flops'] / 1e12:.2f}"
        table.add_row(graph["name"], str(graph["runs"]), f"{graph['instructions']:,}", trace, flops, memory, once)
    return table


def _span(times: Sequence[float]) -> str:
    """From the shortest to the longest, in the unit that suits the longest."""
    units = {"hours": 3600, "minutes": 60, "seconds": 1}
    unit = next((name for name, seconds in units.items() if max(times) >= seconds), "seconds")
    seconds = units[unit]
    return " to ".join(f"{time / seconds:.1f}" for time in times) + f" {unit}"


def _trace(graph: Mapping[str, Any]) -> str:
    return "cut" if graph["trace_seconds"] is None else f"{graph['trace_seconds']:.2f}"


def _size(graph: Mapping[str, Any]) -> str:
    return f"{graph['instructions']:,} HLO instructions, {_trace(graph)} s to trace"


def _short(source: str) -> str:
    """The last folders of a path: where a reader looks for it."""
    return "/".join(Path(source).parts[-3:]) if source else ""
