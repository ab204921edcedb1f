"""The former name of `db_utils.files`, kept for programs that import it."""

from db_utils.files import (
    ExportOptions,
    ExportResult,
    ImportOptions,
    ImportResult,
    export_query,
    export_relation,
    import_files,
)

__all__ = [
    "ExportOptions",
    "ExportResult",
    "ImportOptions",
    "ImportResult",
    "export_query",
    "export_relation",
    "import_files",
]
