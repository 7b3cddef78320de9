"""The far end of the traffic benchmark, a program of its own in any network namespace.

One connection at a time; its first byte says what is wanted.
"""

from __future__ import annotations

import socket

PORT = 5000
SINK, ECHO, ASK = b"s", b"e", b"a"
BUFFER_BYTES = 1 << 20


def main() -> None:
    """Serve for ever; the word on standard output says that it listens."""
    buffer = bytearray(BUFFER_BYTES)
    with socket.create_server(("", PORT), backlog=1024) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    serve(connection, buffer)
                except ConnectionError:
                    continue


def serve(connection: socket.socket, buffer: bytearray) -> None:
    """Swallow and count, give back each byte, or answer once."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    kind = connection.recv(1)
    if kind == SINK:
        count = 0
        while received := connection.recv_into(buffer):
            count += received
        connection.sendall(count.to_bytes(8))
    elif kind == ECHO:
        while data := connection.recv(1):
            connection.sendall(data)
    else:
        connection.sendall(kind)


if __name__ == "__main__":
    main()
