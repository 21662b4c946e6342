"""Quick questions to a local server: is the port free, does it accept, does it answer?"""

import http.client
import json
import random
import socket
from pathlib import Path

PROBE_SECONDS = 1.0
# Below the range from which Linux and macOS hand out ports of outgoing connections.
FREE_PORT_RANGE = range(20_000, 32_000)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Distinct ports that are free now, for tests and second stacks on one machine."""
    found: list[int] = []
    for port in random.sample(FREE_PORT_RANGE, len(FREE_PORT_RANGE)):
        if port_is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports between {FREE_PORT_RANGE.start} and {FREE_PORT_RANGE.stop}")


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def http_status(port: int, path: str, host: str = "127.0.0.1") -> int:
    """The status of a GET, or 0 where there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def redis_answers(port: int) -> bool:
    """Whether a Redis or Valkey answers PING (a loading one does not)."""
    try:
        with socket.create_connection(("127.0.0.1", port), PROBE_SECONDS) as connection:
            connection.settimeout(PROBE_SECONDS)
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def names_pid(path: Path, pid: int) -> bool:
    """Whether a readiness file holds this process id (an older process's file says nothing)."""
    try:
        return path.read_text().strip() == str(pid)
    except OSError:
        return False


def discovered_by(path: Path, pid: int) -> bool:
    """Whether the broker's discovery file was written by this process."""
    try:
        return bool(json.loads(path.read_text()).get("pid") == pid)
    except (OSError, ValueError):
        return False
