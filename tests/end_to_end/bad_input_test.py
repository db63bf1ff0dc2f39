"""Bytes at the port that no client of ours would send. The server says what is wrong, once, and goes on."""

import random
import socket
import struct
import time
import unittest
import urllib.parse

from support import BUILD, EndToEndTest

MAGIC = b"FARCALL\n"
PROTOCOL_VERSION = 1  # rpc/wire.h


class BadInputTest(EndToEndTest):
    def connect(self) -> socket.socket:
        url = urllib.parse.urlparse(self.url)
        connection = socket.create_connection((url.hostname, url.port), timeout=10)
        self.addCleanup(connection.close)
        return connection

    def send_and_read_to_the_end(self, data: bytes) -> bytes:
        """What the server answers before it closes. A server that keeps such a connection open fails the test."""
        connection = self.connect()
        answer = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(4096):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer

    def test_random_bytes_are_refused(self):
        source = random.Random(1)
        for length in (1, 7, 8, 16, 17, 100, 4096, 100000):
            self.send_and_read_to_the_end(source.randbytes(length))
        self.assert_no_workers()
        self.assert_server_works()

    def test_another_protocol_is_refused(self):
        self.send_and_read_to_the_end(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b" " * 64)
        self.assert_server_works()

    def test_a_hello_that_is_cut_is_refused(self):
        preamble = MAGIC + struct.pack("<II", PROTOCOL_VERSION, 64)
        for length in range(len(preamble) + 1):
            self.send_and_read_to_the_end(preamble[:length])
        self.send_and_read_to_the_end(preamble + b"\0" * 100)
        self.assert_no_workers()
        self.assert_server_works()

    def test_a_hello_that_claims_to_be_huge_is_refused_at_once(self):
        connection = self.connect()
        connection.sendall(MAGIC + struct.pack("<II", PROTOCOL_VERSION, 0xFFFFFFFF))
        connection.settimeout(5)
        begin = time.monotonic()
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
        self.assertLess(time.monotonic() - begin, 4, "it waited for the 32 GiB")
        self.assert_server_works()

    def test_a_wrong_protocol_version_is_told_both_versions(self):
        answer = self.send_and_read_to_the_end(MAGIC + struct.pack("<II", 77, 2) + b"\0" * 16)
        self.assertEqual(answer[:8], MAGIC)
        text = answer.decode(errors="replace")
        self.assertIn("77", text)
        self.assertIn(str(PROTOCOL_VERSION), text)
        self.assert_server_works()

    def test_a_silent_client_does_not_keep_others_out(self):
        connections = [self.connect() for _ in range(20)]
        self.assert_server_works()
        self.assertEqual(len(connections), 20)


class NoServerTest(unittest.TestCase):
    def test_a_server_that_is_not_there_is_named_and_how_to_set_it(self):
        import farcall_runs

        with socket.socket() as taken:  # bound but not listening: connections are refused
            taken.bind(("127.0.0.1", 0))
            url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            begin = time.monotonic()
            for linkage in ("shared", "static"):
                run = farcall_runs.run_remote(BUILD, url, [BUILD.example("vector_add", linkage)], seconds_max=60)
                self.assertEqual(run.code, 1, run.stderr)
                self.assertIn(url, run.stderr)
                self.assertIn("FARCALL_SERVER", run.stderr)
            self.assertLess(time.monotonic() - begin, 20)


if __name__ == "__main__":
    unittest.main()
