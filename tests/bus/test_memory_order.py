"""What is known of a bundle is on disk before Dobby hears of its start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bus.conftest import StartDobby
from tests.standin.bundles import make_bundle
from tests.standin.client import Client


async def test_a_bundle_is_remembered_before_its_start_goes_out(
    client: Client, start_dobby: StartDobby, start_bridge: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, we would let a GetInfo through that kills Dobby."""
    start_dobby()
    daemon = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    bundle = make_bundle(tmp_path, "plain", plugins=False)
    call = daemon._bus.call
    remembered: list[bool] = []

    def spy(to: str, path: str, interface: str, member: str, *rest: Any) -> Any:
        if member == "StartFromBundle":
            remembered.append(any(str(bundle) in file.read_text() for file in (tmp_path / "run").glob("*.json")))
        return call(to, path, interface, member, *rest)

    monkeypatch.setattr(daemon._bus, "call", spy)
    await client.start("plain", bundle)
    assert remembered == [True]
