"""What is kept stays within its size."""

from app.kept import Kept


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    """A value that is asked for again stays longer than one that nobody wants."""
    kept: Kept[str] = Kept(10, len)
    kept.put("a", "aaaa")
    kept.put("b", "bbbb")
    assert kept.get("a") == "aaaa"
    kept.put("c", "cccc")
    assert [kept.get(key) for key in "abc"] == ["aaaa", None, "cccc"]


def test_nothing_too_large_is_kept_and_nothing_counted_twice() -> None:
    """A value larger than all may be leaves the others where they are; the same again changes nothing."""
    kept: Kept[str] = Kept(10, len)
    kept.put("a", "aaaa")
    kept.put("large", "x" * 11)
    for _ in range(5):
        kept.put("b", "bbbb")
    assert [kept.get(key) for key in ("a", "large", "b")] == ["aaaa", None, "bbbb"]
