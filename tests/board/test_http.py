"""A package that streams from an HTTP server through a pipe, as a board with no room for it takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from board.machine import Job, Virt
from board.releases import MIB, Workshop, image_pair
from board.rig import Bench
from otastream.errors import Code


@contextmanager
def served(package: bytes) -> Iterator[int]:
    """/p.ota is the package; /half.ota claims its length, and the connection ends after half of it. Gives the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(package)))
            self.end_headers()
            self.wfile.write(package[: len(package) // 2] if self.path == "/half.ota" else package)

        def log_message(self, *args: object) -> None:
            """Not on the console of the tests."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # the board lost its power
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_package_over_http_that_is_cut(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """A server that goes away in the middle, then power cuts, then all of it, onto a block device."""
    old, new = image_pair(bench.kit, 4 * MIB)
    slot = tmp_path / "slot"
    slot.write_bytes(old + bytes(8 * MIB - len(old)))
    package = shop.image("p", new, "/dev/vda").read_bytes()
    with served(package) as port:
        network = f"""
        ip link set eth0 up
        ip addr add 10.0.2.15/24 dev eth0
        from() {{ wget -q -O - http://10.0.2.2:{port}/$1 2>/dev/null | apply -x -; }}
        """
        job = Job(
            network
            + f"""
            expect {Code.TRUNCATED.value} from half.ota 2>/tmp/words
            grep -q "run the same package again" /tmp/words
            expect 0 from p.ota
            """,
            {},
            ("disk", "net"),
        )
        bench.survive(Virt([slot], network=True), job)
    after = slot.read_bytes()
    assert after[: len(new)] == new
    assert after[len(new) :] == bytes(8 * MIB - len(new))
