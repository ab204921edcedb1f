"""Launcher: `python db_utils.py` is the smoke test. The package of the same name beside this file wins the import."""

import sys

from db_utils.__main__ import main

if __name__ == "__main__":
    main(["smoke", *sys.argv[1:]])
