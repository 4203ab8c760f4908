"""What a run or a comparison looks like: plots, pictures, tables. Imports no host."""

from .compare import Row, as_pictures, compare_rows, compare_sheet, compare_text, one_batch, similarity
from .plot import plot_run, plot_runs, plot_text
from .text import BYPASSED, as_json, describe, told
from .tune import tune_plot, tune_report, tune_sheet, tune_text

__all__ = [
    "BYPASSED",
    "Row",
    "as_json",
    "as_pictures",
    "compare_rows",
    "compare_sheet",
    "compare_text",
    "describe",
    "one_batch",
    "plot_run",
    "plot_runs",
    "plot_text",
    "similarity",
    "told",
    "tune_plot",
    "tune_report",
    "tune_sheet",
    "tune_text",
]
