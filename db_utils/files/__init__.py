"""Import and export: CSV, JSON Lines, Parquet and Arrow files into tables of an organization, and back."""

from __future__ import annotations

from db_utils.files.exporting import ExportResult, export_query, export_relation
from db_utils.files.importing import ImportResult, import_files, import_for_each
from db_utils.files.options import ExportOptions, ImportOptions

__all__ = [
    "ExportOptions",
    "ExportResult",
    "ImportOptions",
    "ImportResult",
    "export_query",
    "export_relation",
    "import_files",
    "import_for_each",
]
