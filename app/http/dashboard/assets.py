"""The files that every page loads: public, compressed, kept by browsers as their address changes with them."""

from litestar import Response, get

from app.compression import chosen_coding, compressed
from app.http.dashboard.pages import SECURITY_HEADERS, AnyRequest
from app.templates import ASSETS, asset

_FOR_EVER = "public, max-age=31536000, immutable"


@get([f"/{name}" for name in ASSETS], include_in_schema=False)
async def asset_file(request: AnyRequest) -> Response[bytes]:
    """One of the files; at the address that pages give it, it never changes."""
    found = asset(request.url.path.rpartition("/")[2])
    headers = {
        **SECURITY_HEADERS,
        "ETag": f'"{found.tag}"',
        "Cache-Control": _FOR_EVER if request.query_params.get("v") == found.tag else "no-cache",
        "Vary": "Accept-Encoding",
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if headers["ETag"] in known:
        return Response(b"", status_code=304, media_type=found.media_type, headers=headers)
    body, coding = found.body, chosen_coding(request.headers.get("accept-encoding", ""))
    if coding is not None:
        body, headers["Content-Encoding"] = compressed(body, coding), coding
    return Response(body, media_type=found.media_type, headers=headers)
