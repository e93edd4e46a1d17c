"""A line of an access log parses into a request, or a reason why not."""

import pytest

from ingest.replay.access_log import LoggedRequest, MalformedLine, read_line

TAIL = '200 11 "http://a.example/" "Agent/1.0"'


def a_line(request: str = "GET /x HTTP/1.1", tail: str = TAIL) -> str:
    return f'203.0.113.7 - - [17/May/2015:10:05:03 +0000] "{request}" {tail}'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (a_line(), ("203.0.113.7", "GET", "/x", "http://a.example/", "Agent/1.0")),
        (a_line("HEAD /x?y=1 HTTP/1.0"), ("203.0.113.7", "HEAD", "/x", None, None)),
        (a_line("POST /x HTTP/1.1"), (None, "GET", "/x", None, None)),
        (a_line("GET / HTTP/2.0"), (None, "GET", "/", None, None)),
        (a_line("GET /x"), (None, "GET", "/x", None, None)),
        (a_line("GET /a b HTTP/1.1"), (None, "GET", "/a b", None, None)),
        (a_line("GET /x#y HTTP/1.1"), (None, "GET", "/x", None, None)),
        (a_line("GET http://a.example/x?y HTTP/1.1"), (None, "GET", "/x", None, None)),
        (a_line(r"GET /\"x\" HTTP/1.1"), (None, "GET", '/"x"', None, None)),
        (a_line(tail='304 - "-" "-"'), (None, "GET", "/x", "", "")),
        (a_line(tail=r'200 1 "-" "A \"B\" \\C"'), (None, None, None, "", 'A "B" \\C')),
        (a_line(tail=r'200 1 "-" "\x22A\x22 \xc3\xa9"'), (None, None, None, "", '"A" Ã©')),
        (a_line(tail='200 1 "-" "A" "extra" 0.003'), (None, None, None, "", "A")),
        (a_line(tail=r'200 1 "-" "A\r\nX-Admin: 1\x0a"'), (None, None, None, "", "A  X-Admin: 1")),
        (
            '2001:db8::7 - Ann Lee [17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" ' + TAIL,
            ("2001:db8::7", "GET", "/x", None, None),
        ),
    ],
)
def test_a_line_of_the_combined_format_is_a_request(line: str, expected: tuple[str | None, ...]):
    request = read_line(line)
    assert isinstance(request, LoggedRequest)
    fields = (
        request.address,
        request.method,
        request.path,
        request.referrer,
        request.user_agent,
    )
    named = zip(fields, expected, strict=True)
    assert all(field == value for field, value in named if value is not None), fields


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("hello", "is not in the combined format"),
        ('203.0.113.7 - - [17/May/2015] "GET /x HTTP/1.1" 200 1', "is not in the combined format"),
        (a_line(tail='200 1 "-" "cut off'), "is not in the combined format"),
        (a_line(tail=r'200 1 "-" "cut off\"'), "is not in the combined format"),
        (a_line("-"), "holds no HTTP request"),
        (a_line(r"\x16\x03\x01"), "holds no HTTP request"),
        (a_line("OPTIONS * HTTP/1.0"), "asks for no path"),
        (a_line("CONNECT a.example:443 HTTP/1.1"), "asks for no path"),
    ],
)
def test_any_other_line_is_malformed_for_a_reason(line: str, reason: str):
    assert read_line(line) == MalformedLine(reason)
