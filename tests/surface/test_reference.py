"""The reference is current, and has every public name."""

from __future__ import annotations

import pytest

import evertoken
from support import reference


@pytest.fixture(scope="module")
def page() -> str:
    return reference.PAGE.read_text(encoding="utf-8")


def test_it_is_current(page: str) -> None:
    assert page == reference.page(), f"renew it: {reference.COMMAND}"


def test_the_map_of_modules_is_current() -> None:
    text = reference.MAP.read_text(encoding="utf-8")

    assert text == reference.modules(), f"renew it: {reference.COMMAND}"


@pytest.mark.parametrize("name", evertoken.__all__)
def test_it_has_every_public_name(name: str, page: str) -> None:
    assert f"### `{name}`\n" in page


def test_it_has_the_fields_of_the_policy_the_events_and_the_counters(page: str) -> None:
    for name in ("activation_delay", "next_try", "seconds", "adoptions", "retry_after"):
        assert f"{name}: float" in page or f"- `{name}`: " in page
