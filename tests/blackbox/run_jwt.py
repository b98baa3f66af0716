#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""foci-jwt from outside: runs the black-box tests beside this file against the built program, and counts.

    tests/blackbox/run_jwt.py path/to/foci-jwt [path/to/dev_homeserver] [NAME...]

NAME: a module (test_jwt_leaves), a class or a test (Leaves.test_x). Each class runs in a process of its own, some at a time,
because most of a test is waiting. Counted are rows of tables (subtests) and tests without such; one that fails prints how to
run it alone. Modules that are programs of their own (no jwt_testbed in them) are run with the same arguments; test_sfu_*
are for another program."""
import concurrent.futures
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUPPORT = ROOT / "tests" / "support"
JOBS = 5
CLASS_TIMEOUT_S = 300  # sanitizers included


class Result(unittest.TextTestResult):
    """Counts rows."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.rows = {}  # section -> [passed, failed]
        self.subtests = {}

    def count(self, test, ok):
        section = str(getattr(test, "section", None) or "")
        self.rows.setdefault(section, [0, 0])[0 if ok else 1] += 1

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        self.subtests[test.id()] = True
        self.count(test, err is None)

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self.subtests.get(test.id()):
            self.count(test, True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.count(test, False)

    def addError(self, test, err):
        super().addError(test, err)
        self.count(test, False)


def load(module):
    sys.path[:0] = [str(SUPPORT), str(HERE)]
    return importlib.import_module(module)


def classes_of(module):
    found = inspect.getmembers(load(module), inspect.isclass)
    return [(n, c) for n, c in found if issubclass(c, unittest.TestCase) and c.__module__ == module
            and unittest.TestLoader().getTestCaseNames(c)]


def run_class(module, name, out, tests):
    """In a child: one class, or some tests of it."""
    if os.environ.get("FOCI_TEST_NAMESPACE") == "1":
        load("jwt_testbed").bring_loopback_up()
    found = getattr(load(module), name)
    names = tests or unittest.TestLoader().getTestCaseNames(found)
    suite = unittest.TestSuite(found(t) for t in names)
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result, warnings="ignore")
    result = runner.run(suite)
    skipped = [str(why) for _, why in result.skipped]
    pathlib.Path(out).write_text(json.dumps({"rows": result.rows, "skipped": skipped}), encoding="utf-8")
    return 0 if result.wasSuccessful() else 1


def chosen(module, classes, names):
    """Which classes, and which tests of each (None: all), the names on the command line mean."""
    for name, _ in classes:
        tests = [n.split(".", 1)[1] for n in names if n.startswith(name + ".")]
        if not names or module in names or name in names:
            yield name, None
        elif tests:
            yield name, tests


def jobs_of(names):
    for path in sorted(HERE.glob("test_*.py")):
        module = path.stem
        if module.startswith("test_sfu_"):
            continue
        if "jwt_testbed" not in path.read_text(encoding="utf-8"):
            if not names or module in names:
                yield Job(module, None, None, None)
            continue
        classes = classes_of(module)
        for name, tests in chosen(module, classes, names):
            yield Job(module, name, tests, dict(classes)[name])


class Job:
    def __init__(self, module, name, tests, found):
        self.module, self.name, self.tests = module, name, tests
        self.weight = getattr(found, "weight", 0)  # seconds, about: the longest come first
        self.namespace = getattr(found, "namespace", False)

    def title(self):
        return f"{self.module}.{self.name}" if self.name else self.module


def in_namespace(command, folder):
    """Users, mounts and network of its own, where ports 53 and 443 are free and the only name server is on loopback."""
    resolv, hosts = folder / "resolv.conf", folder / "hosts"
    resolv.write_text("nameserver 127.0.0.1\n", encoding="utf-8")
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n", encoding="utf-8")
    script = 'mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'
    return ["unshare", "-Urnm", "sh", "-c", script, "sh", str(resolv), str(hosts), *command]


def run_job(job, programs, out):
    """Runs one class or program; returns (job, seconds, exit status, output, counts)."""
    name, began = job.name, time.monotonic()
    if name:
        command = [sys.executable, str(HERE / "run_jwt.py"), "--class", job.module, name, str(out), *(job.tests or [])]
        env = dict(os.environ)
    else:
        command = [sys.executable, str(HERE / f"{job.module}.py"), *programs]
        env = {**os.environ, "RESULTS": ""}
    if job.namespace:
        if subprocess.run(["unshare", "-Urnm", "true"], capture_output=True, check=False).returncode != 0:
            return job, 0, 0, "", {"rows": {}, "skipped": [f"{job.title()}: no user namespaces here"]}
        command = in_namespace(command, out.parent)
        env["FOCI_TEST_NAMESPACE"] = "1"
    try:
        done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=CLASS_TIMEOUT_S, errors="replace")
        code, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        code, text = 1, (e.stdout or b"").decode(errors="replace") + f"\nended after {CLASS_TIMEOUT_S} s\n"
    counts = {"rows": {}, "skipped": []}
    if name and out.exists():
        counts = json.loads(out.read_text(encoding="utf-8"))
    elif not name and (m := re.search(r"(\d+) passed, (\d+) failed\s*$", text)):
        counts["rows"] = {job.module: [int(m[1]), int(m[2])]}
    if code and not any(failed for _, failed in counts["rows"].values()):
        counts["rows"].setdefault("", [0, 0])[1] += 1  # it ended before it could count
    return job, time.monotonic() - began, code, text, counts


def section_name(section):
    return f"section {section}" if section[:1].isdigit() else section or "other"


def report(counts, skipped):
    for section in sorted(counts, key=lambda s: (not s[:1].isdigit(), s)):
        passed, failed = counts[section]
        print(f"{section_name(section)}: {passed} passed" + (f", {failed} failed" if failed else ""))
    for why in sorted(set(skipped)):
        print(f"skipped: {why}")
    passed, failed = (sum(c[i] for c in counts.values()) for i in (0, 1))
    if os.environ.get("RESULTS"):
        with open(os.environ["RESULTS"], "a", encoding="utf-8") as f:
            f.write(f"{passed} {failed}\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or passed == 0 else 0


def main():
    args = sys.argv[1:]
    if args[:1] == ["--class"]:
        return run_class(args[1], args[2], args[3], args[4:])
    if not args:
        sys.exit(__doc__)
    programs = [os.path.abspath(a) for a in args if os.path.exists(a)]
    names = [a for a in args if not os.path.exists(a)]
    os.environ["FOCI_JWT"] = programs[0]
    os.environ["DEV_HOMESERVER"] = programs[1] if len(programs) > 1 else ""
    counts, skipped = {}, []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        sys.path.insert(0, str(SUPPORT))
        importlib.import_module("jwt_standins").make_certificates(folder)
        os.environ["FOCI_TEST_CERTS"] = folder
        jobs = sorted(jobs_of(names), key=lambda j: -j.weight)
        running = [pool.submit(run_job, job, programs, pathlib.Path(folder) / f"{i}.json") for i, job in enumerate(jobs)]
        for future in concurrent.futures.as_completed(running):
            job, seconds, code, text, part = future.result()
            print(f"{'ok  ' if code == 0 else 'FAIL'} {job.title()} {seconds:.1f} s", flush=True)
            if code:
                again = " ".join([*args[:len(programs)], job.name or job.module])
                print(text, f"run it alone: tests/blackbox/run_jwt.py {again}\n", sep="\n", flush=True)
            for section, (passed, failed) in part["rows"].items():
                sums = counts.setdefault(section, [0, 0])
                sums[0], sums[1] = sums[0] + passed, sums[1] + failed
            skipped += part["skipped"]
    return report(counts, skipped)


if __name__ == "__main__":
    sys.exit(main())
