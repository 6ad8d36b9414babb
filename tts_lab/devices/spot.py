"""AWS's notice, two minutes ahead, that it takes a spot instance away."""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ADDRESS = "http://169.254.169.254"
"""Of the metadata service on every EC2 instance."""
VENDOR = Path("/sys/class/dmi/id/sys_vendor")
BETWEEN = 5.0
"""Seconds; what AWS advises ("Spot Instance interruption notices", EC2 User Guide)."""


def metadata_address() -> str | None:
    """Where to ask: on an EC2 instance its metadata service, elsewhere None.

    AWS's own variables decide otherwise: AWS_EC2_METADATA_SERVICE_ENDPOINT names another address,
    AWS_EC2_METADATA_DISABLED=true asks for none.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    if named := os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return named.rstrip("/")
    try:
        return ADDRESS if VENDOR.read_text().strip() == "Amazon EC2" else None
    except OSError:
        return None


def notice(address: str) -> str | None:
    """The notice in words, None while there is none.

    Raises:
        OSError: nobody answers at `address`, or not as the metadata service (IMDSv2) does.
    """
    token = _ask(address, "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    headers = {"X-aws-ec2-metadata-token": token}
    try:
        said = _ask(address, "/latest/meta-data/spot/instance-action", headers)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    try:
        content = json.loads(said)
        return f"AWS takes this spot instance away ({content['action']} at {content['time']})"
    except (ValueError, KeyError, TypeError):
        return f"AWS takes this spot instance away ({said[:80]})"


def watch(address: str, tell: Callable[[str], None], warn: Callable[[str], None], ended: threading.Event) -> None:
    """Ask every few seconds until there is a notice for `tell`, or `ended` is set; `warn` once if nobody answers."""
    warned = False
    while not ended.is_set():
        try:
            if said := notice(address):
                return tell(said)
        except OSError as error:
            if not warned:
                warn(
                    f"spot notices cannot be read from {address} ({error}); in a container, raise the instance's "
                    "metadata hop limit to 2"
                )
            warned = True
        ended.wait(BETWEEN)


def _ask(address: str, path: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(address + path, headers=headers, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the address is this machine's own
    with direct.open(request, timeout=2) as answer:
        return answer.read(1000).decode(errors="replace")
