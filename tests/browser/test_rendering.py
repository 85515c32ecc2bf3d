"""The script as text: safe to embed, small, the same for the same input."""

import gzip
import html
import json
import pathlib
import random
import re
import uuid

import pytest

import app.script
from app.script import render_demo, render_script, sanitize_html
from tests.browser.browser_site import PROJECT_ID, change, everybody_sees, experiment, page_html, variant

# The limits beyond which nothing lands are 5 and 7 KB; what is there stays well below.
CORE_BYTES_MAX = 4_096
TEN_EXPERIMENTS_BYTES_MAX = 6_144
HOSTILE = "</script><script>window.hacked=1</script>'\"`\\${window.hacked=1}<!--\u2028\u2029\x00\ud800é&"
# Known ways to run something from HTML, through sanitisers and past them.
PAYLOADS = json.loads((pathlib.Path(__file__).parent / "xss_payloads.json").read_text())


def render(experiments=(), **fields):
    """Render as text with the test's project."""
    given = {"project_id": PROJECT_ID, "base_url": "", "experiments": experiments, **fields}
    return render_script(**given).decode("ascii")


def config_of(script):
    """Read the configuration back out of a rendered script."""
    return json.JSONDecoder().raw_decode(script, script.index('{"projectId"'))[0]


def test_only_what_the_browser_needs_is_inlined():
    """Unknown fields, hypotheses for instance, stay on the server; the rest comes back as it went in."""
    given = experiment(
        variant("Control") | {"note": "secret"},
        variant("Blue", change("style", "h1", "red", "color") | {"by": "secret"}),
        hypothesis="secret",
    )
    config = config_of(render([given], base_url="https://a.example", count_bots=True))
    assert "secret" not in json.dumps(config)
    assert (config["projectId"], config["baseUrl"], config["countBots"]) == (
        PROJECT_ID,
        "https://a.example",
        True,
    )
    (kept,) = config["experiments"]
    assert kept["variants"][1]["changes"] == [change("style", "h1", "red", "color")]
    assert set(kept) == {"id", "urlMatchType", "targetUrl", "trafficPercentage", "variants"}


def test_the_same_input_gives_the_same_bytes():
    """An ETag over the script holds."""
    assert render([everybody_sees()]) == render([everybody_sees()])


def test_no_value_leaves_its_string():
    """Whatever is configured, the script holds no tag, no line separator and no other placeholder."""
    hostile = experiment(variant(HOSTILE + "__GMP_CONFIG__", change("text", HOSTILE, HOSTILE)), id=HOSTILE)
    script = render([hostile], base_url=HOSTILE)
    assert not re.search(r"</?script|<!--", script, re.IGNORECASE)
    config = config_of(script)
    assert config["experiments"][0]["variants"][0]["changes"][0]["value"] == HOSTILE
    assert config["experiments"][0]["variants"][0]["name"] == HOSTILE + "__GMP_CONFIG__"


@pytest.mark.parametrize("name", ["core", "full"])
def test_a_bundle_keeps_to_the_form_that_rendering_relies_on(name):
    """ASCII, one place for the configuration, nothing that a strict policy forbids."""
    bundle = (pathlib.Path(app.script.__file__).parent / "built" / f"{name}.js").read_text("ascii")
    assert bundle.count("__GMP_CONFIG__") == 1
    assert not re.search(r"\beval\(|new Function|document\.write|//", bundle)


def test_the_script_is_small():
    """Compressed: without experiments, and with ten of two variants that change three things each."""
    rng = random.Random(10)

    def arm(name, *changes):
        return variant(name, *changes) | {"id": str(uuid.UUID(int=rng.getrandbits(128)))}

    ten = [
        experiment(
            arm("Control"),
            arm(
                "Variant B",
                change("text", ".hero h1", f"Headline number {number}"),
                change("style", ".hero .cta", "#0a7", "background-color"),
                change("class", "#pricing .card", "featured"),
            ),
            id=str(uuid.UUID(int=rng.getrandbits(128))),
            name=f"Landing page {number}",
            urlMatchType="starts_with",
            targetUrl=f"/landing/{number}",
        )
        for number in range(10)
    ]
    assert len(gzip.compress(render().encode(), 9)) <= CORE_BYTES_MAX
    assert len(gzip.compress(render(ten).encode(), 9)) <= TEN_EXPERIMENTS_BYTES_MAX


def test_sanitised_html_keeps_what_shows():
    """Ordinary markup of a variant survives, and sanitising again changes nothing."""
    shown = (
        '<h2 class="big" id="a">Hi</h2><p>a <b>b</b> &amp; <a class="x" href="/a?b=1&amp;c=2" rel="noopener '
        'noreferrer">c</a></p><button type="button" aria-label="d">e</button><img src="/f.png" alt="g">'
    )
    assert sanitize_html(shown) == shown
    assert all(sanitize_html(sanitize_html(payload)) == sanitize_html(payload) for payload in PAYLOADS)


@pytest.mark.browser
@pytest.mark.parametrize("has_set_html", [True, False])
def test_no_known_payload_runs_in_a_browser(site, context, has_set_html):
    """As text, HTML and ids, in an external and in an inline script, nothing configured runs."""
    if not has_set_html:
        context.add_init_script("delete Element.prototype.setHTML")
    attacks = [*PAYLOADS, HOSTILE.replace("\x00", "").replace("\ud800", "")]
    changes = [
        change(kind, f"#{kind}{number}", payload)
        for number, payload in enumerate(attacks)
        for kind in ("html", "text")
    ]
    site.experiments = [everybody_sees(*changes, name=attacks[-1], id=attacks[-1])]
    places = "".join(
        f"<div id='html{number}'></div><div id='text{number}'></div>" for number in range(len(attacks))
    )
    inline = render(site.experiments, count_bots=True)
    site.pages["/"] = page_html(places, f"<script>{inline}</script>")
    site.pages["/other"] = page_html(places)
    page = context.new_page()
    for path in ("/", "/other"):
        page.goto(path)
        for link in page.locator("a[href]").all():
            assert not link.get_attribute("href").lower().startswith("javascript")
        page.wait_for_timeout(100)
        assert page.evaluate("window.hacked ?? null") is None
        assert page.inner_text("#text0") == PAYLOADS[0]
        assert page.locator("#html1 [onerror], iframe, object, embed, base, style, link").count() == 0
    site.wait_for("experiment_impression", 2)


def test_the_demo_page_escapes_what_is_put_in():
    """An address with quotes and ampersands stays an attribute."""
    url = "/s.js?projectId=x&y=\"'><script>"
    page = render_demo(PROJECT_ID, url).decode()
    assert f'<script src="{html.escape(url)}"></script>' in page
    assert "{{" not in page
    assert PROJECT_ID in page
