"""A replay's `Cookie` header: what the refused answer set, beside everything else."""

from __future__ import annotations

import pytest

from evertoken.clients.cookies import pairs_of, with_cookies


@pytest.mark.parametrize(
    ("sent", "cookies", "expected"),
    [
        ("", {"session": "new"}, "session=new"),
        ("session=old; other=kept", {"session": "new"}, "other=kept; session=new"),
        # http.cookies would drop these, and all that follows them
        ('theme={"a":1}; id=7', {"session": "new"}, 'theme={"a":1}; id=7; session=new'),
        ("path=/x; id=7", {"session": "new"}, "path=/x; id=7; session=new"),
        ("id=1; id=2", {"session": "new"}, "id=1; id=2; session=new"),
        ("flag; id=7 ;", {"id": "a=b"}, "flag; id=a=b"),
    ],
)
def test_cookies_of_the_same_name_are_replaced_and_all_else_stays(
    sent: str, cookies: dict[str, str], expected: str
) -> None:
    assert with_cookies(sent, cookies) == expected


def test_a_header_that_a_client_wrote_is_read_name_by_name() -> None:
    assert pairs_of("a=1; b=2=3; c") == {"a": "1", "b": "2=3", "c": ""}
