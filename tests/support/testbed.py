# SPDX-License-Identifier: Apache-2.0
"""What black-box tests of both services share: tokens, what a child process gets, waiting."""
import base64
import hashlib
import hmac
import json
import os
import time

KEY, SECRET = "devkey", "devsecretdevsecretdevsecretdevsecret"


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sign(payload, secret=SECRET, alg="HS256"):
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg)
    text = ".".join(url64(json.dumps(part, separators=(",", ":")).encode())
                    for part in ({"alg": alg, "typ": "JWT"}, payload))
    mac = hmac.new(secret.encode(), text.encode(), digest).digest() if digest else b""
    return f"{text}.{url64(mac)}"


def wait(condition, seconds, what):
    """Waits until the condition is true, and returns what it said. Fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.005)


def environment(env):
    """What a child gets: these settings, and what sanitizers want to know. None leaves a setting out."""
    keep = {k: os.environ[k] for k in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS") if k in os.environ}
    return {**keep, **{k: v for k, v in env.items() if v is not None}}
