#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README's tables of settings name every flag and environment variable that the programs' --help names, and no others.
readme.py PROGRAM..."""
import pathlib
import re
import subprocess
import sys

COMMON = {"help", "version", "config", "check-config", "dump-config"}  # described in the text above the tables

text = pathlib.Path("README.md").read_text(encoding="utf-8")
settings = text.split("## Settings", 1)[-1].split("\n## ", 1)[0]
errors = 0
known = set()
for program in sys.argv[1:]:
    name = pathlib.Path(program).name
    table = settings.split(f"**{name}**", 1)[-1].split("\n\n**", 1)[0]
    written = set(re.findall(r"`(?:--)?([A-Z][A-Z0-9_]+|[a-z][a-z0-9-]+)`", re.sub(r"^\| `[^`]*`", "|", table, flags=re.M)))
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    real = set(re.findall(r"^ +--([a-z0-9-]+)", text, re.M)) - COMMON
    real |= set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", " ".join(re.findall(r"(?:environment|env)[^\n]*", text))))
    real -= {"FOCI_SFU_CONFIG", "FOCI_JWT_CONFIG"}  # described above the tables too
    for missing in sorted(real - written):
        print(f"README.md: the table of {name} lacks {missing}: add its row")
        errors += 1
    known |= real
print(f"readme: {len(known)} flags and variables, {errors} errors")
sys.exit(1 if errors or not known else 0)
