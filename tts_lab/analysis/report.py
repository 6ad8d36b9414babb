"""What `tts-lab analyze` says on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tts_lab.analysis.analysis import Analysis
from tts_lab.corpus.decisions import Decisions

SIGNS = {"good": "[green]good[/]", "bad": "[red]bad[/]", "unknown": "[dim]?[/]"}


def print_analysis(console: Console, analysis: Analysis, worst: int = 10) -> None:
    """The verdicts with their rules where they are bad, the `worst` clips with their reasons, and the sentence."""
    table = Table("", "what", "found", title=f"Corpus {escape(analysis.corpus)}", title_justify="left")
    for verdict in analysis.verdicts:
        words = escape(verdict.words) + (f"\n[dim]{escape(verdict.rule)}[/]" if verdict.ok is False else "")
        table.add_row(SIGNS[verdict.mark], verdict.name, words)
    console.print(table)
    odd = analysis.worst(decisions=Decisions.load(analysis.corpus))
    if len(odd):
        title = f"{len(odd)} clips are odd; the first {min(worst, len(odd))} to listen to"
        clips = Table("score", "clip", "why", title=title, title_justify="left")
        for name, row in odd.head(worst).iterrows():
            why = "\n".join([*row["reasons"], f"“{row['text']}”"])
            clips.add_row(f"{row['score']:.1f}", escape(str(name)), escape(why))
        console.print(clips)
    else:
        console.print("No clip stands out.", highlight=False)
    console.print(analysis.description, highlight=False, markup=False, soft_wrap=True)
