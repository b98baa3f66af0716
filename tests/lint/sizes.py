#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small files, small functions: over 600 lines a file warns, over 1,000 fails; a function over 80 lines fails.
Tests are held to the file limit only."""
import pathlib
import re
import sys

WARN_FILE, MAX_FILE, MAX_FUNCTION = 600, 1000, 80
START = re.compile(r"^[A-Za-z_].*\)\s*$|^[A-Za-z_].*[,(]\s*$")
errors = warnings = 0
files = sorted(
    str(p)
    for d in ("common", "sfu", "jwt-service", "deploy", "tests")
    for p in pathlib.Path(d).rglob("*.[ch]")
    if "node_modules" not in p.parts
)
for path in files:
    lines = open(path, encoding="utf-8").read().split("\n")
    if len(lines) > MAX_FILE:
        print(f"{path}: {len(lines)} lines, limit {MAX_FILE}: split it by idea")
        errors += 1
    elif len(lines) > WARN_FILE:
        print(f"{path}: {len(lines)} lines: think of splitting it (warning)")
        warnings += 1
    if path.startswith("tests/"):
        continue
    open_at = None
    for no, line in enumerate(lines, 1):
        if line == "{" and open_at is None:
            open_at = no
        elif line == "}" and open_at is not None:
            if no - open_at - 1 > MAX_FUNCTION:
                print(f"{path}:{open_at}: function of {no - open_at - 1} lines, limit {MAX_FUNCTION}")
                errors += 1
            open_at = None
        elif line.startswith("};"):
            open_at = None
print(f"sizes: {len(files)} files, {warnings} warnings, {errors} errors")
sys.exit(1 if errors or not files else 0)
