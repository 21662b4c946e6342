"""A tiny role: `python -S standin_role.py NAME`. Imports little, so that many starts of it cost little."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

NAME = sys.argv[1]
HOME = Path(os.environ["SAGAPAY_STATE_DIR"])
if (HOME / f"{NAME}.broken").exists():
    sys.exit(f"{NAME} is broken on purpose")
if (HOME / f"{NAME}.deaf").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if NAME == "api":
    listener = socket.create_server(("127.0.0.1", int(os.environ["SAGAPAY_API_PORT"])))
    while True:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()
if NAME == "worker":
    (HOME / "ready" / NAME).write_text(str(os.getpid()))
    time.sleep(3600)
