"""What HTML an experiment may put on a customer's page."""

import nh3

# On top of nh3's own list (text, headings, lists, tables, images, links): no script, style, frame, form,
# object, base, meta or link, no handler, no srcdoc, no style attribute.
_TAGS = nh3.ALLOWED_TAGS | {"button", "label", "main", "section"}
_ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "*": {"class", "dir", "id", "lang", "role", "title"},
    "button": {"disabled", "type"},
    "img": {*nh3.ALLOWED_ATTRIBUTES.get("img", set()), "decoding", "loading"},
    "label": {"for"},
}
_URL_SCHEMES = {"http", "https", "mailto", "tel"}


def sanitize_html(value: str) -> str:
    """Keep what shows and drop what runs: the result holds no script, handler or `javascript:` address.

    Sanitising twice changes nothing, so it is done when an experiment is written and when a script is built.
    """
    return nh3.clean(
        value,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        generic_attribute_prefixes={"aria-"},
        url_schemes=_URL_SCHEMES,
    )
