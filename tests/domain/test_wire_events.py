"""What arrives from browsers and servers: documented shapes, and a limit on everything that grows."""

import msgspec
import pytest

from domain.events import ServerEventRequest, TrackEvent

TRACK = {
    "eventType": "conversion",
    "pathname": "/pricing",
    "fullUrl": "https://shop.example/pricing",
    "sessionId": "s",
    "visitorId": "v",
    "timestamp": 1_772_366_400_000,
}
SERVER = {"eventType": "conversion", "eventName": "purchase"}


def track(**fields):
    """Decode a browser event that is valid but for these fields."""
    return msgspec.json.decode(msgspec.json.encode(TRACK | fields), type=TrackEvent)


def server(**fields):
    """Decode a server event that is valid but for these fields."""
    return msgspec.json.decode(msgspec.json.encode(SERVER | fields), type=ServerEventRequest)


def test_the_least_browser_event_is_enough():
    """Optional parts default to nothing."""
    event = track()
    assert (event.event_type, event.timestamp, event.event_name) == ("conversion", 1_772_366_400_000, None)
    assert (bytes(event.event_data), event.referrer, event.utm) == (b"", None, None)


def test_the_data_of_an_event_stays_as_it_was_sent():
    """Numbers and order are not touched on the way to the log."""
    sent = b'{"b": 1.10, "a": 12345678901234567890}'
    whole = msgspec.json.encode(TRACK)[:-1] + b',"eventData":' + sent + b"}"
    assert bytes(msgspec.json.decode(whole, type=TrackEvent).event_data) == sent


def test_unknown_keys_are_ignored():
    """A newer script may say more."""
    assert track(experiments=[1], utm={"source": "mail", "id": "7"}).utm.source == "mail"


def test_a_browser_time_may_have_a_fraction():
    """`performance.timeOrigin + performance.now()` has one."""
    assert track(timestamp=1.5).timestamp == 1.5


@pytest.mark.parametrize("missing", TRACK)
def test_a_browser_event_without_a_documented_field_is_refused(missing):
    """Every field without a question mark is needed."""
    rest = {key: value for key, value in TRACK.items() if key != missing}
    with pytest.raises(msgspec.ValidationError, match=missing):
        msgspec.json.decode(msgspec.json.encode(rest), type=TrackEvent)


@pytest.mark.parametrize(
    ("field", "longest"),
    [
        ("eventType", 100),
        ("eventName", 200),
        ("visitorId", 256),
        ("sessionId", 256),
        ("pathname", 2048),
        ("fullUrl", 8192),
        ("referrer", 8192),
    ],
)
def test_a_browser_event_has_limits(field, longest):
    """The limit itself is fine, one more is not."""
    assert track(**{field: "x" * longest})
    with pytest.raises(msgspec.ValidationError, match=field):
        track(**{field: "x" * (longest + 1)})


@pytest.mark.parametrize("part", ["source", "medium", "campaign", "term", "content"])
def test_campaign_parameters_have_limits(part):
    """Each of them alone."""
    assert track(utm={part: "x" * 512})
    with pytest.raises(msgspec.ValidationError, match=part):
        track(utm={part: "x" * 513})


@pytest.mark.parametrize("field", ["eventType", "visitorId"])
def test_what_identifies_an_event_is_not_empty(field):
    """An empty type or visitor would gather strangers."""
    with pytest.raises(msgspec.ValidationError, match=field):
        track(**{field: ""})


def test_the_least_server_event_is_enough():
    """Two names; the time defaults to arrival elsewhere."""
    event = server()
    assert (event.timestamp, event.idempotency_key, event.visitor, event.page) == (None, None, None, None)
    assert (bytes(event.properties), bytes(event.event_data)) == (b"", b"")
    assert (event.experiment_id, event.variant_id) == (None, None)


def test_a_server_event_keeps_both_names_of_its_data():
    """Which of them wins is decided where they are read."""
    event = server(properties={"a": 1}, eventData={"b": 2})
    assert (bytes(event.properties), bytes(event.event_data)) == (b'{"a":1}', b'{"b":2}')


@pytest.mark.parametrize(
    ("field", "longest"),
    [
        ("eventType", 100),
        ("eventName", 200),
        ("idempotencyKey", 255),
        ("page", 2048),
        ("experimentId", 100),
        ("variantId", 100),
    ],
)
def test_a_server_event_has_limits(field, longest):
    """The limit itself is fine, one more is not."""
    assert server(**{field: "x" * longest})
    with pytest.raises(msgspec.ValidationError, match=field):
        server(**{field: "x" * (longest + 1)})


@pytest.mark.parametrize(("field", "longest"), [("id", 256), ("ip", 64), ("userAgent", 1024)])
def test_a_servers_visitor_has_limits(field, longest):
    """The limit itself is fine, one more is not."""
    assert server(visitor={field: "x" * longest})
    with pytest.raises(msgspec.ValidationError, match=field):
        server(visitor={field: "x" * (longest + 1)})


def test_an_idempotency_key_is_not_empty():
    """An empty key would make all events one."""
    with pytest.raises(msgspec.ValidationError, match="idempotencyKey"):
        server(idempotencyKey="")
