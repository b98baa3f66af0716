#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls that are not made in the services, each with what to use instead."""
import pathlib
import re
import sys

BANNED = {
    "strcpy": "dynbuf or snprintf", "strcat": "dynbuf", "sprintf": "snprintf or dynbuf_addf", "vsprintf": "vsnprintf",
    "strtok": "rd_take", "gets": "fgets", "atoi": "conf or a checked parser", "atol": "a checked parser",
    "strtol": "a checked parser", "strtoul": "a checked parser", "sscanf": "rd_*", "alloca": "a fixed array",
    "rand": "rng or rand_bytes", "random": "rng or rand_bytes", "srand": "rng", "time": "clock (common/sys) or a parameter",
    "gettimeofday": "clock", "clock_gettime": "clock", "gmtime": "wall_t helpers", "localtime": "wall_t helpers",
    "usleep": "a timer", "sleep": "a timer", "nanosleep": "a timer", "system": "nothing: no shell", "popen": "nothing: no shell",
    "htons": "wr_be16", "ntohs": "rd_be16", "htonl": "wr_be32", "ntohl": "rd_be32",
    "malloc": "mem_alloc", "calloc": "mem_array", "realloc": "mem_regrow", "free": "mem_free",
    "strdup": "mem_strdup", "strndup": "mem_strndup", "asprintf": "dynbuf_addf", "printf": "log_*",
    "abort": "an error return; assert for our own bugs",
}
# file -> calls that are its very job.
EXCEPT = {
    "common/base/mem.c": {"calloc", "free", "malloc", "realloc"},
    "common/sys/clock.c": {"clock_gettime"},
    "common/sys/udp.c": {"htons", "ntohs", "htonl", "ntohl"},
    "common/sys/ifaddr.c": {"htons", "ntohs"},
    # Libraries hand over memory that only free() may release.
    "common/svc/jsonx.c": {"free"},
    "common/lk/access_token.c": {"free"},
    "common/svc/conf_file.c": {"free"},
    # usrsctp's API takes network order and its own timers need a clock-free tick.
    "sfu/transport/usrsctp_glue.c": {"htons", "ntohs", "htonl", "ntohl"},
    # --help and --version go to standard output.
    "common/svc/conf.c": {"printf"},
    "common/sys/log.c": {"clock_gettime", "gmtime"},
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
STRINGS = re.compile(r'"(?:\\.|[^"\\])*"')

errors = 0
files = sorted(str(p) for d in ("common", "sfu", "jwt-service", "deploy") for p in pathlib.Path(d).rglob("*.[ch]"))
for path in files:
    in_comment = False
    for no, line in enumerate(open(path, encoding="utf-8"), 1):
        code = STRINGS.sub('""', line)
        if in_comment:
            if "*/" not in code:
                continue
            code = code.split("*/", 1)[1]
            in_comment = False
        code = re.sub(r"/\*.*?\*/", "", code).split("//", 1)[0]
        if "/*" in code:
            code = code.split("/*", 1)[0]
            in_comment = True
        for m in CALL.finditer(code):
            if m.group(1) in EXCEPT.get(path, ()):
                continue
            print(f"{path}:{no}: {m.group(1)}() is banned: use {BANNED[m.group(1)]}")
            errors += 1
print(f"banned: {len(files)} files, {errors} errors")
sys.exit(1 if errors or not files else 0)
