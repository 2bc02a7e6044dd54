"""The ECS agent's endpoint for task protection.

In a native thread under gevent or eventlet a socket of `socket` would be a green one: hence the C module's, which
nothing patches.
"""

from __future__ import annotations

import _socket
import json
from typing import Any, Final
from urllib.parse import urlsplit

#: Where ECS tells a container the address of its agent.
VARIABLE: Final = "ECS_AGENT_URI"
PATH: Final = "/task-protection/v1/state"
#: Seconds to wait for the agent, which itself asks the ECS API.
PATIENCE: Final = 10.0


class AgentError(Exception):
    """The protection is not known to be as it was asked for; says why, in a line."""


def protect(uri: str, minutes: int) -> None:
    """Protect this ECS task for some minutes from now, whatever it was before; 0 takes the protection away.

    Raises:
        AgentError: The agent did not answer, or refused.
    """
    wanted: dict[str, Any] = {"ProtectionEnabled": minutes > 0}
    if minutes:
        wanted["ExpiresInMinutes"] = minutes
    try:
        status, answer = _put(uri, json.dumps(wanted).encode())
    except OSError as error:
        raise AgentError(f"no answer: {error}") from error
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise AgentError(f"status {status}, and no JSON")
    for key, name, text in (("failure", "Reason", "Detail"), ("error", "Code", "Message")):
        if isinstance(trouble := said.get(key), dict):
            raise AgentError(f"{trouble.get(name)}: {trouble.get(text)}")
    if status != 200 or not isinstance(said.get("protection"), dict):
        raise AgentError(f"status {status}, and nothing about protection")


def _put(uri: str, body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(uri)
    host, port = parts.hostname or "", parts.port or 80
    # HTTP/1.0: the answer ends with the connection, and is in one piece.
    head = (
        f"PUT {parts.path.rstrip('/')}{PATH} HTTP/1.0\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect((host, port))
        connection.sendall(head.encode() + body)
        said, _, answer = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    finally:
        connection.close()
    words = said.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0, answer
