"""The report at the terminal: what one reads in ten seconds."""

from rich.console import Console
from rich.text import Text

from diptych.export.parity.display.words import (
    counted,
    findings,
    number,
    reason,
    reference_name,
    shape,
    subject,
    times,
    visible,
)
from diptych.export.parity.report import BisectionReport, Report

_FAILURES = 10
_NODES = 5
_LETTERS = 600  # of one text: what people write may be long
_MARKS = {True: ("ok", "green"), False: ("FAIL", "bold red"), None: ("-", "dim")}


def show(report: Report, console: Console) -> None:
    """Print every level with its time, what failed and where; the verdict comes last, where one looks first."""
    seconds = report.seconds
    _line(console, Text(), subject(report), "bold")
    for found in findings(report):
        mark, style = _MARKS[found.passed]
        time = f"{seconds[found.level]:.1f} s" if found.level in seconds else ""
        times_column = f"{time:>7}  " if seconds else ""
        head = Text.assemble((f"{mark:<4}", style), f"  {found.level:<10}  {times_column}")
        _line(console, head, found.told, "dim" if found.passed is None else "")
    if report.failures:
        _failures(report, console)
    if report.bisection:
        _bisection(report.bisection, console, reference_name(report))
    console.print()
    verdict, style = ("PASSED", "bold green") if report.passed else ("FAILED", "bold red")
    taken = f"in {sum(seconds.values()):.1f} s" if seconds else ""
    _line(console, Text.assemble((verdict, style), "  "), reason(report) or taken)


def _failures(report: Report, console: Console) -> None:
    console.print("\nfailures", style="bold")
    for failure in report.failures[:_FAILURES]:
        module = f" (module {failure.module})" if failure.module else ""
        _line(console, Text("  "), f"{failure.level}: {failure.what}{module}")
    if len(report.failures) > _FAILURES:
        _line(console, Text("  "), f"and {len(report.failures) - _FAILURES:,} more")


def _bisection(bisection: BisectionReport, console: Console, own: str) -> None:
    console.print("\nbisection", style="bold")
    where = f"{bisection.module} is where the error enters" if bisection.module else "no module leaves its bound"
    _line(console, Text("  "), f"{where}: {bisection.graph}, {bisection.case}")
    if bisection.note:
        _line(console, Text("  "), bisection.note)
    if bisection.inputs or bisection.outputs:
        _line(console, Text(f"  {'':<4}{'error':>9}{own:>13}{'ratio':>10}  "), "tensor")
    for side, values in (("in", bisection.inputs), ("out", bisection.outputs)):
        for value in values:
            numbers = f"{number(value.error):>9}{number(value.own):>13}{times(value.ratio):>10}"
            head = Text(f"  {side:<4}{numbers}  ", style="" if value.holds else "red")
            _line(console, head, f"{value.name} {shape(value.shape)}")
    more = len(bisection.nodes) - _NODES
    nodes = [*bisection.nodes[:_NODES], *([f"and {counted(more, 'more node')}"] if more > 0 else [])]
    for index, node in enumerate(nodes):
        _line(console, Text("  nodes  " if not index else "         "), node)


def _line(console: Console, head: Text, text: str, style: str = "") -> None:
    """At a terminal, what is too long goes on below itself; elsewhere lines stay whole, for tools that read them."""
    shown = text if len(text) <= _LETTERS else f"{text[:_LETTERS]}..."
    body = Text(visible(shown), style=style)
    lines = body.wrap(console, max(console.width - head.cell_len, 20)) if console.is_terminal else [body]
    for index, line in enumerate(lines):
        whole = (Text(" " * head.cell_len) if index else head) + line
        whole.rstrip()
        console.print(whole, soft_wrap=True)
