"""Links that people paste."""

import pytest
from porthole_pure.link import Link, LinkError, decode, encode

KEY = "A" * 43


def test_the_vectors_link_is_read(vectors):
    link = Link.parse(vectors["link"])
    assert (link.device, link.root, link.grant) == ("front-door", "porthole", "anna")
    assert link.key == vectors["keys"][0]["key"]
    assert link.secret == vectors["keys"][1]["seed"]
    assert link.page == "http://192.0.2.7:8080/"
    assert Link.from_fields(link.fields()) == link


def test_it_is_read_from_a_terminal_and_without_its_page(vectors):
    text = vectors["link"]
    wrapped = f"  {text[:80]}\n{text[80:]}\n"
    assert Link.parse(wrapped) == Link.parse(text)
    fragment = Link.parse(text.partition("#")[2])
    assert fragment.page is None
    assert fragment.secret == Link.parse(text).secret


def test_no_cut_of_it_passes_for_a_whole_one(vectors):
    text = vectors["link"]
    for length in range(len(text)):
        try:
            link = Link.parse(text[:length])
        except LinkError:
            continue
        # What is left may be the link of somebody who was not invited; it must not pass for one that was.
        assert link.grant is None, text[:length]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_link"),
        ("hello", "no_link"),
        ("http://192.0.2.7:8080/", "no_link"),
        ("#" + "&".join(f"x{n}=1" for n in range(40)), "no_link"),
        ("#device=a&" + "x" * 5000, "no_link"),
        ("#device=a&device=b", "repeated"),
        ("#key=" + KEY, "no_device"),
        ("#device=a/b", "bad_device"),
        ("#device=" + "a" * 65, "bad_device"),
        ("#device=a&root=a/%2B", "bad_root"),
        ("#device=a&root=a//b", "bad_root"),
        ("#device=a&key=", "bad_key"),
        ("#device=a&key=" + KEY + "A", "bad_key"),
        ("#device=a&key=" + KEY[:-1] + "B", "bad_key"),
        ("#device=a&key=" + KEY + "&grant=g", "half_grant"),
        ("#device=a&key=" + KEY + "&secret=" + KEY, "half_grant"),
        ("#device=a&key=" + KEY + "&grant=a%20b&secret=" + KEY, "bad_device"),
        ("#device=a&key=" + KEY + "&grant=a.b&secret=" + KEY, "bad_grant"),
        ("#device=a&key=" + KEY + "&grant=g&secret=short", "bad_secret"),
        ("#device=a&grant=g&secret=" + KEY, "no_key"),
    ],
)
def test_what_is_wrong_is_named(text, code):
    with pytest.raises(LinkError) as raised:
        Link.parse(text)
    # White space is taken out of links, so a space cannot be told from none in what was encoded.
    assert raised.value.code == (code if "%20" not in text else "bad_grant")


@pytest.mark.parametrize(
    "page", ["javascript:alert(1)/", "ftp://h/", "http://u:p@h/", "http:///", "http://h:port/", "//h/", "http://[/"]
)
def test_pages_that_cannot_be_asked_are_none(page):
    assert Link.parse(f"{page}#device=a").page is None


def test_a_page_below_a_proxy_is_kept():
    assert Link.parse("https://h.example/cam/index.html#device=a").page == "https://h.example/cam/"


def test_the_secret_is_in_no_representation(vectors):
    link = Link.parse(vectors["link"])
    assert link.secret not in repr(link)
    assert link.secret not in str(link)


def test_base64url_is_strict():
    assert decode(encode(bytes(range(32))), 32) == bytes(range(32))
    for bad in ("AA==", "A A", "AB", "A", "", "+/", None, 7, b"AA", "ÄÄ"):
        assert decode(bad, 1) is None
