"""A TCP proxy in front of PostgreSQL that loses the server's answer to COMMIT: the commit happened, and nobody hears of it."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

_COMMIT = b"COMMIT\x00"


class CuttingProxy:
    """With `cut_every` n, the connection is cut at every nth COMMIT, once the server has answered it."""

    def __init__(self, server_port: int) -> None:
        self.cut_every = 0
        self.cuts = 0
        self._commits = 0
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            _shut(each)
        for thread in self._threads:
            thread.join(10)

    def _start(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
                self._start(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Both ways until one ends; then both are closed."""
        cutting = threading.Event()
        back = threading.Thread(target=self._back, args=(server, client, cutting), daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if _COMMIT in data:
                    self._commits += 1
                    if self.cut_every and self._commits % self.cut_every == 0:
                        cutting.set()
                server.sendall(data)
        for each in (client, server):
            _shut(each)
        back.join(10)
        for each in (client, server):
            each.close()
            self._open.discard(each)

    def _back(self, server: socket.socket, client: socket.socket, cutting: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if cutting.is_set():
                    self.cuts += 1
                    break
                client.sendall(data)
        for each in (client, server):
            _shut(each)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running_proxy(server_port: int) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server_port)
    try:
        yield proxy
    finally:
        proxy.stop()
