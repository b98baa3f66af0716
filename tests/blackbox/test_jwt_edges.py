# SPDX-License-Identifier: Apache-2.0
"""What strangers can set off: limits and proxies, slow clients, servers that strangers name: authorization-service 1.4, 1.9,
5.5, 5.8, 9.2, 9.3. What a unit test shows as well (the connections of one address, the addresses of the policy in all
their forms, slow readers) is not repeated here."""
import asyncio
import concurrent.futures
import email.utils
import json
import socket
import struct
import threading
import time

from jwt_standins import NameServer
from jwt_testbed import Base, CORS, free_port, legacy, wait


def forwarded(address):
    return {"X-Forwarded-For": address}


class Limits(Base):
    """9.3, 1.9: stand-ins and clients are on loopback, so the clients' addresses come by the headers of a proxy there."""
    section = 9

    def burst(self, s, count, headers, body=b"{"):
        """Statuses of so many requests, at once."""
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            return list(pool.map(lambda _: s.request("POST", "/sfu/get", body, headers)[0], range(count)))

    def assert_limited(self, answer):
        status, headers, data = answer
        self.assertEqual(status, 429)
        body = json.loads(data)
        self.assertEqual(body["errcode"], "M_LIMIT_EXCEEDED")
        self.assertGreaterEqual(body["retry_after_ms"], 1)
        self.assertGreaterEqual(int(headers["retry-after"]) * 1000, body["retry_after_ms"])
        for name, value in CORS.items():
            self.assertEqual(headers.get(name), value)

    def test_one_address_has_a_burst_of_30(self):
        s = self.service({"FOCI_JWT_LIMIT_ADDRESS": "0.1/30"})
        statuses = self.burst(s, 40, forwarded("203.0.113.1"))
        self.assertEqual((statuses.count(400), statuses.count(429)), (30, 10))
        answer = s.request("POST", "/get_token", b"{", forwarded("203.0.113.1"))
        self.assert_limited(answer)
        self.assertIn(int(answer[1]["retry-after"]), range(5, 11))
        for headers in (forwarded("203.0.113.2"), {}):
            with self.subTest(str(headers)):
                self.assertEqual(s.request("POST", "/sfu/get", b"{", headers)[0], 400)
        # Health and preflight are not counted.
        self.assertEqual(s.request("GET", "/healthz", None, forwarded("203.0.113.1"))[0], 200)
        self.assertEqual(s.request("OPTIONS", "/sfu/get", None, forwarded("203.0.113.1"))[0], 200)
        # Ten seconds later there is one more.
        self.assertEqual(s.request("GET", "/healthz")[0], 200)

    def test_who_is_taken_for_whom(self):
        """A row is a way to send the same client's address, or another's."""
        same = [forwarded("198.51.100.7"), forwarded("1.2.3.4, 198.51.100.7"), forwarded("198.51.100.7:4711"),
                forwarded("1.2.3.4,198.51.100.7, 127.0.0.1"), forwarded("::ffff:198.51.100.7"),
                {"Forwarded": "for=1.2.3.4, for=198.51.100.7;proto=https"}, {"Forwarded": 'For="198.51.100.7:80"'},
                {"X-Real-IP": "198.51.100.7"},
                {**forwarded("198.51.100.7"), "Forwarded": "for=9.9.9.9", "X-Real-IP": "8.8.8.8"}]
        other = [forwarded("198.51.100.8"), forwarded("198.51.100.7, 198.51.100.9"), forwarded("2001:db8::1")]
        unknown = [forwarded("unknown"), forwarded(""), forwarded("198.51.100.7, rubbish"), {"X-Real-IP": "x"}, {}]
        for headers in same:
            with self.subTest(str(headers)):
                s = self.service({"FOCI_JWT_LIMIT_ADDRESS": "0.001/1"})
                self.assertEqual(s.request("POST", "/sfu/get", b"{", forwarded("198.51.100.7"))[0], 400)
                self.assertEqual(s.request("POST", "/sfu/get", b"{", headers)[0], 429)
        s = self.service({"FOCI_JWT_LIMIT_ADDRESS": "0.001/1"})
        self.assertEqual(s.request("POST", "/sfu/get", b"{", forwarded("198.51.100.7"))[0], 400)
        for headers in other + unknown + unknown:
            with self.subTest(str(headers)):
                self.assertEqual(s.request("POST", "/sfu/get", b"{", headers)[0], 400)

    def test_header_lines_of_several_proxies_are_one_list(self):
        s = self.service({"FOCI_JWT_LIMIT_ADDRESS": "0.001/1"})
        self.assertEqual(s.request("POST", "/sfu/get", b"{", forwarded("198.51.100.7"))[0], 400)
        with socket.create_connection(("127.0.0.1", s.port), 10) as c:
            # The client's own line first, the proxy's behind it.
            c.sendall(b"POST /sfu/get HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nContent-Length: 1\r\n"
                      b"x-forwarded-for: 198.51.100.7\r\n\r\n{")
            self.assertIn(b" 429 ", c.recv(4096).split(b"\r\n")[0])

    def test_nobody_is_believed_who_is_no_proxy(self):
        s = self.service({"FOCI_JWT_LIMIT_ADDRESS": "0.001/1", "FOCI_JWT_TRUSTED_PROXIES": "10.0.0.0/8"})
        for _ in range(3):  # loopback itself has no limit
            self.assertEqual(s.request("POST", "/sfu/get", b"{", forwarded("198.51.100.7"))[0], 400)

    def test_a_64_of_ipv6_is_one_client(self):
        s = self.service({"FOCI_JWT_LIMIT_ADDRESS": "0.001/1"})
        for address, status in (("2001:db8:0:1::1", 400), ("2001:db8:0:1:ffff::2", 429), ("2001:db8:0:2::1", 400)):
            with self.subTest(address):
                self.assertEqual(s.request("POST", "/sfu/get", b"{", forwarded(address))[0], status)

    def test_one_named_server(self):
        s = self.service({"FOCI_JWT_LIMIT_SERVER": "0.001/2"})
        port = free_port()
        for name, status in (("a.invalid", 401), ("A.Invalid:443", 401), (f"a.invalid:{port}", 429), ("b.invalid", 401)):
            with self.subTest(name):
                self.assertEqual(s.post("/sfu/get", legacy(name))[0], status)
        hs, _, s = self.trio(FOCI_JWT_LIMIT_SERVER="0.001/1")
        for _ in range(3):  # the operator's own has no limit
            self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)

    def test_one_user(self):
        hs, _, s = self.trio(FOCI_JWT_LIMIT_USER="0.001/2")
        hs.users["other"] = f"@bob:{hs.name}"
        body, other = json.dumps(legacy(hs.name)), json.dumps(legacy(hs.name, token="other"))
        here = forwarded("198.51.100.7")
        self.assertEqual([s.request("POST", "/sfu/get", body, here)[0] for _ in range(2)], [200, 200])
        self.assert_limited(s.request("POST", "/sfu/get", body, forwarded("198.51.100.8")))
        self.assertEqual(s.request("POST", "/sfu/get", other, here)[0], 200)


class SlowClients(Base):
    """1.4, 9.2: 10 s for the headers, 10 s for the body."""
    section = 9
    weight = 14

    def drip(self, s, first, then):
        """Sends `then` twice a second until the service closes; how long that took, and what it said."""
        with socket.create_connection(("127.0.0.1", s.port), 30) as c:
            c.setblocking(True)
            c.settimeout(0.5)
            begin, said = time.monotonic(), b""
            c.sendall(first)
            while time.monotonic() - begin < 25:
                try:
                    data = c.recv(4096)
                    if not data:
                        break
                    said += data
                except TimeoutError:
                    try:
                        c.sendall(then)
                    except OSError:
                        break
                except OSError:
                    break
            return time.monotonic() - begin, said

    def test_they_are_cut_off_and_others_are_not(self):
        hs, _, s = self.trio()
        head = b"POST /sfu/get HTTP/1.1\r\nHost: x\r\n"
        rows = {"nothing": (b"", b""), "request line": (b"P", b"O"), "headers": (head, b"X-A: b\r\n"),
                "body": (head + b"Content-Length: 5000\r\n\r\n{", b" "),
                "chunks": (head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")}
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            dripping = {name: [pool.submit(self.drip, s, *row) for _ in range(3)] for name, row in rows.items()}
            for _ in range(10):
                begin = time.monotonic()
                self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)
                self.assertLess(time.monotonic() - begin, 2)
            for name, futures in dripping.items():
                with self.subTest(name):
                    for took, said in (f.result() for f in futures):
                        self.assertTrue(9.5 <= took <= 13, took)
                        self.assertNotIn(b" 200 ", said)
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)


class Strangers(Base):
    """5.8 rules 8 and 9: servers that the operator did not name, on an address that he allows."""
    section = 5
    weight = 12

    def service_of(self, **env):
        return self.service({"FOCI_JWT_ALLOW_ADDRESSES": "127.0.0.0/8", "FOCI_JWT_LIMIT_SERVER": "off",
                             "FOCI_JWT_LIMIT_USER": "off", **env})

    def test_eight_at_once_to_one_server(self):
        slow, own, sfu = self.homeserver(tls=self.tls), self.homeserver(), self.sfu()
        s = self.service_of(LIVEKIT_FULL_ACCESS_HOMESERVERS=own.name, LIVEKIT_URL=f"ws://127.0.0.1:{sfu.port}")
        slow.delay = 0.4
        inside, most, lock, plain = [0], [0], threading.Lock(), slow.reply

        async def counted(request):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            try:
                return await plain(request)
            finally:
                with lock:
                    inside[0] -= 1
        slow.answer = counted
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            strangers = [pool.submit(s.post, "/sfu/get", legacy(slow.name)) for _ in range(40)]
            wait(lambda: most[0] >= 8, 10, "eight at once")
            begin = time.monotonic()
            self.assertEqual(s.post("/sfu/get", legacy(own.name))[0], 200)
            self.assertLess(time.monotonic() - begin, 2)
            self.assertEqual([f.result()[0] for f in strangers], [200] * 40)
        self.assertEqual(most[0], 8)
        self.assertEqual(len(slow.lookups()), 40)  # one for each request

    def test_more_than_the_line_holds_are_told_to_come_later(self):
        slow = self.homeserver()
        slow.delay = 30
        s = self.service_of()

        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", s.port)
            body = json.dumps(legacy(slow.name)).encode()
            writer.write(b"POST /sfu/get HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                         + body)
            data = await reader.read()
            writer.close()
            return data

        async def many():
            return await asyncio.gather(*(ask() for _ in range(300)))
        begin = time.monotonic()
        answers = self.loop.run(many())
        took = time.monotonic() - begin
        status = [int(a.split(b" ", 2)[1]) for a in answers]
        later = [a for a in answers if b'"M_LIMIT_EXCEEDED"' in a and b"retry-after" in a.lower()]
        # 8 reach it and 256 wait in line; when time is over it counts as dead for those behind.
        self.assertGreaterEqual(len(later), 300 - 8 - 256)
        self.assertEqual(status.count(401) + len(later), 300)
        self.assertLess(took, 14)
        self.assertLessEqual(len(slow.lookups()), 16)

    def test_a_dead_server_costs_one_attempt_a_minute(self):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            deaf.setblocking(False)
            port, tried = deaf.getsockname()[1], []

            def hang_up():
                while not done.is_set():
                    try:
                        tried.append(deaf.accept()[0].close())
                    except BlockingIOError:
                        time.sleep(0.01)
            done = threading.Event()
            thread = threading.Thread(target=hang_up)
            thread.start()
            s = self.service_of()
            for i in range(6):
                self.assert_refused(s.post("/sfu/get", legacy(f"127.0.0.1:{port}")))
                self.assertEqual(s.failures()[-1][1], "tls" if i == 0 else "unreachable")
            done.set()
            thread.join()
        self.assertEqual(len(tried), 1)
        # One that the operator named is tried each time.
        s = self.service_of(LIVEKIT_FULL_ACCESS_HOMESERVERS=f"127.0.0.1:{port}")
        for _ in range(3):
            self.assert_refused(s.post("/sfu/get", legacy(f"127.0.0.1:{port}")))
            self.assertEqual(s.failures()[-1][1], "connect")

    def test_refusals_look_alike(self):
        """The answer and, but for what a slow server takes, its time say nothing about what is inside."""
        hs = self.homeserver()
        s = self.service_of(FOCI_JWT_DENY_ADDRESSES="127.0.0.3")
        rows = {"closed": f"127.0.0.1:{free_port()}", "denied": "127.0.0.3:8448", "private": "10.0.0.1:8448",
                "port": "127.0.0.1:22", "token": hs.name, "metadata": "169.254.169.254", "name": "x.invalid:8448"}
        seen = set()
        for _ in range(2):
            for name, server in rows.items():
                with self.subTest(name):
                    begin = time.monotonic()
                    status, headers, data = s.request("POST", "/sfu/get", legacy(server, token="bad"))
                    took = time.monotonic() - begin
                    self.assertGreaterEqual(took, 0.049)
                    self.assertLess(took, 5 if name == "name" else 2)
                    drop = ("date", "x-request-id")
                    seen.add((status, data, tuple(sorted((k, v) for k, v in headers.items() if k not in drop))))
        self.assertEqual(len(seen), 1)
        self.assertEqual(next(iter(seen))[0], 401)


class Names(NameServer):
    """Addresses by name, one answer after the other; the last one stays."""

    def __init__(self, loop):
        self.addresses = {}
        super().__init__(loop, {})

    def datagram_received(self, data, addr):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        name, kind = ".".join(labels), struct.unpack("!H", data[at + 1:at + 3])[0]
        if name not in self.addresses:
            super().datagram_received(data, addr)
            return
        self.asked.append((name, kind))
        records = []
        if kind == 1:
            answers = self.addresses[name]
            now = answers.pop(0) if len(answers) > 1 else answers[0]
            records = [socket.inet_aton(a) for a in now.split()]
        answer = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(r)) + r for r in records)
        self.transport.sendto(data[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0) + data[12:at + 5] + answer, addr)


class Inside(Base):
    """5.8 rules 1 to 4 with names: 127.0.0.1 plays the Internet, everything else on loopback is inside."""
    section = 5
    namespace = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns = Names(cls.loop)

    def setUp(self):
        self.dns.srv, self.dns.addresses = {}, {}
        self.dns.asked.clear()
        self.inside = [self.homeserver(host="127.0.0.2", port=p) for p in (443, 8448)]

    def known(self, port):
        hs = self.homeserver(port=port)
        hs.users = {"good": "@alice:hs.test"}
        return hs

    def ask(self, s=None, name="hs.test", **env):
        s = s or self.service({"FOCI_JWT_ALLOW_ADDRESSES": "127.0.0.1", "FOCI_JWT_LIMIT_SERVER": "off", **env})
        return s, s.post("/sfu/get", legacy(name))

    def assert_untouched(self):
        self.assertEqual([hs.connections for hs in self.inside], [0, 0])

    def test_names_of_what_is_inside(self):
        for answer in ("127.0.0.2", "169.254.169.254", "10.0.0.1 127.0.0.2", "0.0.0.0"):
            with self.subTest(answer):
                self.dns.addresses = {"hs.test": [answer]}
                begin = time.monotonic()
                s, got = self.ask()
                self.assert_refused(got)
                self.assertLess(time.monotonic() - begin, 2)
                self.assertEqual(s.failures()[-1], ("openid", "denied"))
        self.assert_untouched()

    def test_a_name_with_one_foot_inside(self):
        front, back = self.known(443), self.known(8448)
        self.dns.addresses = {"hs.test": ["127.0.0.2 127.0.0.1 10.0.0.1"]}
        s, got = self.ask()
        self.assertEqual(got[0], 200, s.text())
        self.assertEqual((len(front.requests), len(back.lookups())), (1, 1))
        self.assert_untouched()

    def test_a_name_that_answers_differently_the_second_time(self):
        # The first answer is kept: the second look-up of the same request gets the same address.
        front, back = self.known(443), self.known(8448)
        self.dns.addresses = {"hs.test": ["127.0.0.1", "127.0.0.2"]}
        s, got = self.ask()
        self.assertEqual(got[0], 200, s.text())
        # It is gone from there, and asked for anew; now it leads inside.
        front.close()
        back.close()
        for _ in range(3):
            _, got = self.ask(s)
            self.assert_refused(got)
        self.assertIn("denied", [cause for _, cause in s.failures()])
        self.assertGreaterEqual(len([n for n, kind in self.dns.asked if (n, kind) == ("hs.test", 1)]), 2)
        self.assert_untouched()

    def test_delegation_to_what_is_inside(self):
        front = self.known(443)
        self.dns.addresses = {"in.test": ["127.0.0.2"]}
        for target in ("127.0.0.2", "127.0.0.2:8448", "in.test", "in.test:8448", "[::ffff:127.0.0.2]:8448",
                       "[::1]:8448", "169.254.169.254"):
            with self.subTest(target):
                front.well_known = target
                s, got = self.ask()
                self.assert_refused(got)
                self.assertEqual(s.failures()[-1], ("openid", "denied"))
        self.assert_untouched()

    def test_srv_to_what_is_inside(self):
        self.dns.addresses = {"in.test": ["127.0.0.2"]}
        self.dns.srv = {"_matrix-fed._tcp.hs.test": [(10, 5, 8448, "in.test"), (20, 5, 443, "127.0.0.2")]}
        s, got = self.ask()
        self.assert_refused(got)
        self.assertEqual(s.failures()[-1], ("openid", "denied"))
        self.assert_untouched()
        # One of several that is outside is found.
        back = self.known(0)
        self.dns.srv = {"_matrix-fed._tcp.hs.test": [(10, 5, 8448, "in.test"), (20, 5, back.port, "hs.test")]}
        s, got = self.ask()
        self.assertEqual(got[0], 200, s.text())
        self.assert_untouched()

    def test_redirects_to_what_is_inside(self):
        front, back = self.known(443), self.known(8448)
        self.dns.addresses = {"in.test": ["127.0.0.2"]}
        for location in ("https://in.test/", "https://127.0.0.2/", "https://127.0.0.2:8448/x", "https://[::ffff:127.0.0.2]/",
                         "https://localhost:8448/", "//in.test/x"):
            with self.subTest(location):
                front.answer = lambda _r, to=location: (302, "text/plain", "", ("Location", to))
                s, got = self.ask()
                self.assertEqual(got[0], 200, s.text())  # as if there were no document
        self.assertEqual(len(back.lookups()), 6)
        # The call itself is not redirected, wherever to.
        back.override = lambda _r: (307, "text/plain", "", ("Location", "https://in.test/"))
        s, got = self.ask()
        self.assert_refused(got)
        self.assertEqual(s.failures()[-1], ("openid", "status"))
        self.assert_untouched()

    def test_exempt_are_those_that_the_settings_name(self):
        self.inside[1].users = {"good": "@alice:hs.test"}
        self.dns.addresses = {"hs.test": ["127.0.0.2"]}
        for env in ({"LIVEKIT_CS_API_URL_OVERRIDES": "hs.test=http://x"}, {"FOCI_JWT_ALLOW_ADDRESSES": "127.0.0.0/8"}):
            with self.subTest(str(env)):
                s, got = self.ask(**env)
                self.assertEqual(got[0], 200, s.text())

    def test_documents_are_kept_by_their_headers(self):
        """5.5; five minutes are the least."""
        later = email.utils.formatdate(time.time() + 3600, usegmt=True)
        for headers in ((), (("Cache-Control", "max-age=600"),), (("Expires", later),), (("Cache-Control", "no-store"),),
                        (("Expires", "0"),)):
            with self.subTest(str(headers)):
                front, back = self.known(443), self.known(0)
                document = {"m.server": f"delegated.test:{back.port}"}
                front.answer = lambda _r, h=headers, d=document: (200, "text/plain", d, *h)
                s, got = self.ask()
                self.assertEqual(got[0], 200, s.text())
                self.assertEqual(self.ask(s)[1][0], 200)
                self.assertEqual((len(front.requests), len(back.lookups())), (1, 2))
                front.close()
                back.close()

    def test_documents_of_servers_that_misbehave(self):
        """Then the search goes on in time: megabytes, early ends, dripping."""
        back = self.known(8448)

        async def drip(_request):
            await asyncio.sleep(20)
        rows = {"megabytes": lambda _r: (200, "text/plain", "x" * (8 << 20)), "early end": lambda _r: None, "hangs": drip}
        front = self.known(443)
        for name, answer in rows.items():
            with self.subTest(name):
                front.answer = answer
                begin = time.monotonic()
                s, got = self.ask()
                self.assertEqual(got[0], 200, s.text())
                self.assertLess(time.monotonic() - begin, 7 if name == "hangs" else 3)
        self.assertEqual(len(back.lookups()), 3)
