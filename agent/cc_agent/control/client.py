"""Asking the running agent of this node something."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from cc_agent.control.requests import ControlRequest, encode_request
from cc_agent.errors import ControlError

SOCKET_NAME = "control.sock"
_DEFAULT_FOLDER = "/run/cc-agent"
_TIMEOUT_S = 10.0
_LIMIT_BYTES = 4 * 1024 * 1024


def socket_path(given: Optional[str], environment: Mapping[str, str]) -> Path:
    """The control socket: the given one, or the one of the service."""
    folder = environment.get("RUNTIME_DIRECTORY", "").split(":", 1)[0]
    return Path(given) if given else Path(folder or _DEFAULT_FOLDER) / SOCKET_NAME


def ask_agent(path: Path, request: ControlRequest) -> Dict[str, Any]:
    """The answer of the agent at this socket. Raises ControlError if it refuses, or if none answers there."""
    content = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(encode_request(request))
            while not content.endswith(b"\n") and len(content) < _LIMIT_BYTES:
                part = connection.recv(65536)
                if not part:
                    break
                content += part
    except OSError as error:
        reason = error.strerror or str(error)
        raise ControlError(
            "no_agent",
            f"no agent answers at {path} ({reason}); is cc-agent running on this node? "
            "--socket names another socket; an agent that is not a service has one if main.control-directory is set",
        ) from error
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise ControlError("no_agent", f"{path}: the answer is not one of an agent") from error
    if not isinstance(answer, dict):
        raise ControlError("no_agent", f"{path}: the answer is not one of an agent")
    if "error" in answer:
        raise ControlError(str(answer.get("code", "")), str(answer["error"]))
    return answer
