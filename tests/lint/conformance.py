#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/conformance/table.md has a row for each line of the protocol's checklists, and each test that it names exists:
a C function that its program runs, a method of a Python test, a scenario of the end-to-end runner."""
import pathlib
import re
import sys

# Lines of livekit-protocol's lists.
LINES = {"10.1": 15, "10.2": 7, "10.3": 11, "10.4": 9, "10.5": 17, "10.6": 55}
TESTS = pathlib.Path("tests")
errors = []
texts = {}


def exists(path, name):
    """Whether the file has a test of this name; None if there is no such file."""
    if path not in texts:
        file = TESTS / path
        texts[path] = file.read_text(encoding="utf-8") if file.is_file() else None
    text = texts[path]
    if text is None:
        return None
    word = re.escape(name)
    if path.endswith(".c"):
        defined = re.search(rf"^static void {word}\(void \*\*", text, re.M)
        return bool(defined and re.search(rf"\b\w+\({word}[,)]", text[defined.end():]))
    if path.endswith(".py"):
        return bool(re.search(rf"^    def {word}\(self", text, re.M))
    # Scenarios of both protocols are made from one name.
    bare = re.sub(r"^v[01]-", "", name)
    return f"'{name}'" in text or (f"'{bare}'" in text and "${version}-" in text)


seen, references, held_by_nothing = set(), 0, 0
for number, line in enumerate((TESTS / "conformance/table.md").read_text(encoding="utf-8").splitlines(), 1):
    if not re.match(r"\| \d", line):
        continue
    cells = [c.strip() for c in line.strip("|").split("|")]
    where = f"tests/conformance/table.md:{number}"
    if len(cells) != 3 or not cells[1]:
        errors.append(f"{where}: a row is | line | what | held by |")
        continue
    section, _, index = cells[0].rpartition(".")
    if section not in LINES or not index.isdigit() or not 1 <= int(index) <= LINES[section]:
        errors.append(f"{where}: there is no line {cells[0]}")
    seen.add(cells[0])
    if cells[2].startswith("none:"):
        held_by_nothing += 1
        if len(cells[2]) < 20:
            errors.append(f"{where}: say why nothing holds it")
        continue
    if not cells[2]:
        errors.append(f"{where}: name a test, or none: and why")
    for reference in cells[2].split():
        path, _, name = reference.rpartition(":")
        references += 1
        found = exists(path, name)
        if found is None:
            errors.append(f"{where}: there is no tests/{path}")
        elif not found:
            errors.append(f"{where}: tests/{path} has no test {name}")
for section, count in LINES.items():
    for index in range(1, count + 1):
        if f"{section}.{index}" not in seen:
            errors.append(f"tests/conformance/table.md: line {section}.{index} is missing")
for error in errors:
    print(error)
print(f"conformance: {len(seen)} lines, {references} references, {held_by_nothing} held by nothing, {len(errors)} errors")
sys.exit(1 if errors else 0)
