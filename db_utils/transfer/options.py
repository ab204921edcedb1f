"""The former name of `db_utils.files.options`, kept for programs that import it."""

from db_utils.files.options import ExportOptions, ImportOptions

__all__ = ["ExportOptions", "ImportOptions"]
