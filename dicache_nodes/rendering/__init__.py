"""What a run or a comparison looks like: plots, images, tables. Imports no host."""

from .compare import as_pictures, check_measuring, compare_rows, compare_sheet, compare_text, one_batch, similarity
from .plot import plot_run, plot_runs, plot_text
from .text import BYPASSED, NO_RUN, OVERRIDDEN, as_json, calibrate_text, describe
from .tune import check_tuning, tune_plot, tune_report, tune_sheet, tune_text

__all__ = [
    "BYPASSED",
    "NO_RUN",
    "OVERRIDDEN",
    "as_json",
    "as_pictures",
    "calibrate_text",
    "check_measuring",
    "check_tuning",
    "compare_rows",
    "compare_sheet",
    "compare_text",
    "describe",
    "one_batch",
    "plot_run",
    "plot_runs",
    "plot_text",
    "similarity",
    "tune_plot",
    "tune_report",
    "tune_sheet",
    "tune_text",
]
