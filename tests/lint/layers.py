#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Folder is layer: checks every #include against the table of ARCHITECTURE.md.

An include of ours is written from the root ("sfu/wire/stun.h"). A third-party library is included by exactly one .c file
(mbedTLS: three kinds, libmicrohttpd: the two halves of httpd, zlib: two formats), and never by a header."""
import pathlib
import re
import sys

BASE = ["common/base"]
COMMON = BASE + ["common/sys", "common/svc", "common/lk"]
# Folder -> folders whose headers it may include (its own always).
ALLOWED = {
    "common/base": [],
    "common/sys": BASE,
    "common/svc": BASE + ["common/sys"],
    "common/lk": BASE + ["common/svc"],
    "common/app": COMMON,
    "sfu/base": BASE + ["common/svc", "common/lk"],
    "sfu/wire": BASE,
    "sfu/transport": BASE + ["sfu/wire"],
    "sfu/media": BASE + ["sfu/wire"],
    "sfu/room": BASE + ["common/svc", "common/lk", "sfu/base", "sfu/wire", "sfu/transport", "sfu/media"],
    "sfu/worker": COMMON + ["sfu/base", "sfu/wire", "sfu/transport", "sfu/media", "sfu/room"],
    "sfu/signal": COMMON + ["sfu/base"],
    "sfu": COMMON + ["common/app", "sfu/base", "sfu/wire", "sfu/transport", "sfu/media", "sfu/room", "sfu/worker", "sfu/signal"],
    "jwt-service/base": COMMON,
    "jwt-service/openid": COMMON + ["jwt-service/base"],
    "jwt-service/leave": COMMON + ["jwt-service/base", "jwt-service/openid"],
    "jwt-service/appservice": COMMON + ["jwt-service/base", "jwt-service/openid", "jwt-service/leave"],
    "jwt-service": COMMON + ["common/app", "jwt-service/base", "jwt-service/openid", "jwt-service/leave",
                             "jwt-service/appservice"],
    "deploy/focictl": COMMON + ["common/app"],
}
# Header prefix of a library -> files that may include it.
THIRD_PARTY = {
    "uv.h": None,  # every file of common/sys
    "microhttpd.h": ["common/svc/httpd.c", "common/svc/httpd_req.c", "common/svc/httpd_framing.c"],
    "wslay/": ["common/svc/ws.c"],
    "curl/": ["common/svc/httpc.c", "common/svc/httpc_call.c", "common/svc/httpc_internal.h"],
    "ares.h": ["common/svc/dns.c"],
    "jansson.h": ["common/svc/jsonx.c"],
    "libconfig.h": ["common/svc/conf_file.c"],
    "protobuf-c/": ["common/svc/pbuf.c", "common/svc/pbjson_internal.h"],
    "zlib.h": ["common/svc/gzip.c", "common/svc/ws_deflate.c"],
    "hiredis/": ["common/svc/redis.c"],
    "yaml.h": ["common/svc/yamlx.c"],
    "jwt.h": ["common/lk/access_token.c"],
    "mbedtls/": ["common/svc/digest.c", "sfu/transport/dtls_handshake.c", "sfu/transport/dtls_cert.c",
                 "sfu/transport/dtls_curves.c"],
    "srtp2/": ["sfu/transport/srtp_transport.c"],
    "usrsctp.h": ["sfu/transport/usrsctp_glue.c"],
    "openssl/": ["sfu/transport/crypto_glue.c", "common/svc/stream_conn.c"],
    "intel-ipsec-mb.h": ["sfu/transport/srtp_ipsec_mb.c"],
    "uthash.h": ["common/base/hash.h"],
    "utlist.h": ["common/base/hash.h"],
}
# Who may see the generated protocol types.
GENERATED = re.compile(
    r"^(common/lk/|common/svc/pb|sfu/signal/|sfu/base/channel_msg\.c$|jwt-service/base/(sfu_client|webhook_receiver)\.c$"
    r"|sfu/room/(add_track|backup_codec|client_codecs|dynacast|signal_dispatch|room_api(_call|_participant|_data)?|rpc_calls|room_config|data_packet|data_router|data_track|data_subscription|join|proto_map|signal_post|connection_quality|signal_send|track_info|room_event|room_update|participant_info|room_news|participant_update|participant_permission|subscription_permission|stream_state|resume|sync_state|simulate)\.[ch]$)"
)
# Layers that must not touch the outside world: no sockets, clocks, threads or files.
PURE = ("common/base", "sfu/wire", "sfu/transport", "sfu/media", "sfu/room", "common/lk")
IMPURE_HEADERS = re.compile(
    r"^(sys/socket|netinet/|arpa/|netdb|unistd|fcntl|sys/(stat|types|epoll|eventfd|timerfd|random|mman)|time|sys/time|pthread"
    r"|signal|uv)\b"
)
IMPURE_EXCEPT = {
    # usrsctp is process-global and its callbacks come from anywhere: this one file holds the lock.
    "sfu/transport/usrsctp_glue.c": {"pthread", "sys/socket", "netinet/", "time"},
    # libsrtp2 is initialised once per process, by whichever worker is first.
    "sfu/transport/srtp_transport.c": {"pthread"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
errors = []


def layer_of(path):
    parent = str(pathlib.PurePosixPath(path).parent)
    return parent if parent in ALLOWED else None


def check_ours(path, line_no, name):
    here = layer_of(path)
    target = layer_of(name)
    if target is None:
        errors.append(f"{path}:{line_no}: \"{name}\": write includes from the root of the project")
    elif target != here and target not in ALLOWED[here]:
        errors.append(f"{path}:{line_no}: layer {here} may not include {target} ({name}): see the table in ARCHITECTURE.md")


def check_third_party(path, line_no, name):
    for prefix, files in THIRD_PARTY.items():
        if not name.startswith(prefix):
            continue
        if path.endswith(".h") and path not in (files or []):
            errors.append(f"{path}:{line_no}: <{name}> in a header: hide the library behind its .c file")
        elif files is None and not path.startswith("common/sys/"):
            errors.append(f"{path}:{line_no}: <{name}> belongs into common/sys only")
        elif files is not None and path not in files:
            errors.append(f"{path}:{line_no}: <{name}> belongs into {' or '.join(files)} only")
    if name == "livekit.pb-c.h" and not GENERATED.match(path):
        errors.append(f"{path}:{line_no}: generated protocol types stop at lk, signal and the mapping files of room")
    here = layer_of(path)
    if here in PURE:
        stem = name[:-2] if name.endswith(".h") else name
        hit = IMPURE_HEADERS.match(stem)
        if hit and not any(stem.startswith(x) for x in IMPURE_EXCEPT.get(path, ())):
            errors.append(f"{path}:{line_no}: <{name}> in pure layer {here}: pass the value in instead")


def main():
    files = sorted(str(p) for d in ("common", "sfu", "jwt-service", "deploy") for p in pathlib.Path(d).rglob("*.[ch]"))
    for path in files:
        if layer_of(path) is None:
            errors.append(f"{path}: this folder is no layer: see ALLOWED in {sys.argv[0]}")
            continue
        for line_no, line in enumerate(open(path, encoding="utf-8"), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            quote, name = m.groups()
            if quote == '"' and name != "livekit.pb-c.h":
                check_ours(path, line_no, name)
            else:
                check_third_party(path, line_no, name)
    for e in errors:
        print(e)
    print(f"layers: {len(files)} files, {len(errors)} errors")
    return 1 if errors or not files else 0


sys.exit(main())
