"""A small site on 127.0.0.1 that serves pages and the script and keeps what is posted."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from app.script import experiments_version, render_preview, render_script

PROJECT_ID = "6d1c2b1e-0d5f-4f5c-9a57-0c8a5c1f3b11"
EXPERIMENT_ID = "0b9d2f6e-53a8-4a3b-8f0f-4d0c6f7f2a01"
TRACK_PATH = "/api/analytics/track"
PREVIEW_PATH = f"/api/analytics/script.js?projectId={PROJECT_ID}&preview=1"
ACTIVE_PATH = "/api/analytics/experiments/active"
# Short for pages of the tests, and where the server has it.
SCRIPT_PATHS = {"/script.js", "/api/analytics/script.js"}
WAIT_SECONDS = 8.0


def variant(name: str, *changes: dict[str, str], weight: float = 1) -> dict[str, Any]:
    """Describe a variant whose id is its name in lower case."""
    return {
        "id": name.lower(),
        "name": name,
        "isControl": name == "Control",
        "weight": weight,
        "changes": list(changes),
    }


def change(change_type: str, selector: str, value: str, property_: str | None = None) -> dict[str, str]:
    """Describe one change; the property is left out when there is none."""
    described = {"selector": selector, "changeType": change_type, "value": value}
    return described if property_ is None else {**described, "property": property_}


def experiment(*variants: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Describe a running experiment on all pages, with everybody in it."""
    return {
        "id": EXPERIMENT_ID,
        "name": "Hero",
        "type": "copy",
        "targetUrl": "",
        "urlMatchType": "all",
        "trafficPercentage": 100,
        "variants": list(variants),
        **fields,
    }


def everybody_sees(*changes: dict[str, str], **fields: Any) -> dict[str, Any]:
    """Describe an experiment with one variant, so that a test knows what is shown."""
    return experiment(variant("Only", *changes), **fields)


def page_html(body: str, head: str = "<script src='/script.js'></script>") -> str:
    """Write a page with the script at the top, as customers are told to install it."""
    return f"<!doctype html><html><head><meta charset='utf-8'>{head}</head><body>{body}</body></html>"


@dataclass
class Request:
    """One post to the track address, and how it was answered."""

    body: str
    headers: dict[str, str]
    status: int
    seconds: float

    @property
    def events(self) -> list[dict[str, Any]]:
        """Read the batch."""
        return json.loads(self.body)["events"]


@dataclass
class Site:
    """What the server serves and what it got; `answer` decides status and headers of an answer to a post."""

    pages: dict[str, str] = field(default_factory=dict)
    page_headers: dict[str, str] = field(default_factory=dict)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    # What a browser took from its cache, if that is something else.
    cached_experiments: list[dict[str, Any]] | None = None
    project_id: str = PROJECT_ID
    count_bots: bool = True
    base_url: str = ""
    script_delay_seconds: float = 0
    # Between the pieces of a page, which | separates.
    pause_seconds: float = 0
    answer: Callable[[], tuple[int, dict[str, str]]] = lambda: (202, {})
    requests: list[Request] = field(default_factory=list)
    other_posts: dict[str, Any] = field(default_factory=dict)
    # What was asked of the server, but for pages.
    asked: list[str] = field(default_factory=list)
    port: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Name the site's origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        """List what was asked beside pages and the script."""
        return [asked for asked in self.asked if not asked.endswith("script.js")]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """List all events of accepted requests, as they came."""
        return [event for request in self.requests if request.status < 300 for event in request.events]

    def stored(self, event_type: str | None = None) -> list[dict[str, Any]]:
        """List the accepted events after the server's exact dedupe, in the order of their timestamps."""
        unique = {
            (event["visitorId"], event["timestamp"], event["eventType"], event["pathname"]): event
            for event in self.accepted
        }
        events = sorted(unique.values(), key=lambda event: event["timestamp"])
        return [event for event in events if event_type in (None, event["eventType"])]

    def wait_for(self, event_type: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until that many events of a type are stored, and return them."""
        self.wait_until(lambda: len(self.stored(event_type)) >= count, f"{count} x {event_type}")
        return self.stored(event_type)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition on what came in holds."""
        with self.changed:
            if not self.changed.wait_for(condition, WAIT_SECONDS):
                types = [event["eventType"] for event in self.stored()]
                pytest.fail(f"no {what} within {WAIT_SECONDS:g} s; stored: {types}, asked: {self.asked}")

    def settle(self, page: Page, seconds: float = 1.2) -> None:
        """Let the delay of ordinary events pass, to see what does not come."""
        page.wait_for_timeout(seconds * 1000)


class Handler(BaseHTTPRequestHandler):
    """Answers for the site that a subclass names."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        """Serve the script, a page, or 404."""
        path = urlsplit(self.path).path
        if self.path == PREVIEW_PATH:
            headers = {"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"}
            self._send(200, render_preview(self.site.url), headers)
        elif path in SCRIPT_PATHS:
            time.sleep(self.site.script_delay_seconds)
            cached = self.site.cached_experiments
            script = render_script(
                project_id=self.site.project_id,
                base_url=self.site.base_url or self.site.url,
                experiments=self.site.experiments if cached is None else cached,
                count_bots=self.site.count_bots,
            )
            self._note("GET")
            self._send(200, script, {"Content-Type": "text/javascript", "Cache-Control": "no-store"})
        elif path == ACTIVE_PATH:
            self._note("GET")
            active = json.dumps({"experiments": self.site.experiments}).encode()
            self._send(200, active, {"Content-Type": "application/json", **self._cors()})
        elif path in self.site.pages:
            headers = {"Content-Type": "text/html; charset=utf-8", **self.site.page_headers}
            pieces = self.site.pages[path].split("|") if self.site.pause_seconds else [self.site.pages[path]]
            self._send(200, pieces[0].encode(), headers, [piece.encode() for piece in pieces[1:]])
        else:
            self._send(404, b"", {})

    def do_OPTIONS(self) -> None:
        """Note a preflight: the tests expect none."""
        self._note("OPTIONS")
        self._send(204, b"", {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"})

    def do_POST(self) -> None:
        """Keep what is posted and answer as the test decided."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, headers = self.site.answer()
        if self.path == TRACK_PATH:
            with self.site.changed:
                self.site.requests.append(Request(body, dict(self.headers), status, time.monotonic()))
        else:
            self.site.other_posts[self.path] = json.loads(body)
        self._note("POST")
        self._send(status, b"{}", {"Content-Type": "application/json", **self._cors(), **headers})

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def _cors(self) -> dict[str, str]:
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": "Retry-After, Experiments-Version",
            "Experiments-Version": experiments_version(self.site.experiments),
        }

    def _note(self, method: str) -> None:
        with self.site.changed:
            self.site.asked.append(f"{method} {urlsplit(self.path).path}")
            self.site.changed.notify_all()

    def _send(self, status: int, body: bytes, headers: dict[str, str], later: Sequence[bytes] = ()) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body + b"".join(later)))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        for piece in later:
            time.sleep(self.site.pause_seconds)
            self.wfile.write(piece)


class Server(ThreadingHTTPServer):
    """A server whose threads end with the test."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that goes away in the middle of an answer is part of the tests."""
