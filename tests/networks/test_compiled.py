"""Compiled calls answer with the network's own weights, and where compiling fails training goes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from built import classifier, coloured

from vicinal.networks import Compiled


@pytest.mark.usefixtures("traced")
@torch.no_grad()
def test_compiled_calls_answer_with_the_weights_of_their_own_network_as_they_are_now() -> None:
    """The trap of torch.compile: graphs are kept for a class's `forward`, and a second instance may meet the first one's."""
    a, b = (classifier("vicinal_mobilenet", 1) for _ in range(2))
    for parameter in b.parameters():
        parameter.mul_(1.1)
    said: list[str] = []
    calls = [Compiled(network, 4, said.append) for network in (a, b)]
    for network, call in zip((a, b), calls, strict=True):
        torch.testing.assert_close(call(coloured(4, 1)), network(coloured(4, 1)))
    for parameter in a.parameters():
        parameter.mul_(0.9)
    torch.testing.assert_close(calls[0](coloured(4, 1)), a(coloured(4, 1)))
    torch.testing.assert_close(calls[0](coloured(3, 1)), a(coloured(3, 1)))  # an odd batch
    assert not said
    assert all(call.works for call in calls)


@pytest.mark.parametrize("kind", [torch._dynamo.exc.TorchDynamoException, OSError])
def test_where_compiling_fails_it_says_so_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def call(_: torch.Tensor) -> torch.Tensor:
            raise kind("No working C++ compiler found\nin the path")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    network, said = classifier("vicinal_mobilenet", 1), []
    call = Compiled(network, 4, said.append)
    with torch.no_grad():
        assert torch.equal(call(coloured(4, 1)), network(coloured(4, 1)))
        call(coloured(4, 1))
    assert len(said) == 1
    assert "No working C++ compiler found in the path" in said[0]
    assert not call.works
