"""Users of a project as an owner makes them: over the forms of the dashboard."""

import html
import re

import httpx

from tests.app.http_project import HttpProject, another_browser, csrf, log_in

PASSWORD = "correct horse battery"


def settings_of(project: HttpProject) -> str:
    """Where the settings of a project are."""
    return f"/dashboard/projects/{project.project_id}"


async def send(browser: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    """A form of the dashboard, with the token that its page carries."""
    return await browser.post(path, data={**form, "csrf": await csrf(browser)})


async def add_user(
    owner: httpx.AsyncClient, project: HttpProject, name: str, role: str, password: str = PASSWORD
) -> httpx.AsyncClient:
    """The browser of a new user, who has logged in with the password that the owner chose."""
    form = {"name": name, "role": role, "password": password}
    answer = await send(owner, f"{settings_of(project)}/users", **form)
    assert answer.status_code == 303, answer.text
    return await log_in(another_browser(owner), name=name, password=password)


async def user_id(owner: httpx.AsyncClient, project: HttpProject, name: str) -> str:
    """The id by which forms speak of a user."""
    page = (await owner.get(f"{settings_of(project)}/settings")).text
    rows = re.findall(r"<tr>.*?</tr>", page, re.DOTALL)
    [row] = [row for row in rows if f'<th scope="row">{name}' in html.unescape(row)]
    found = re.search(r"/users/([0-9a-f-]{36})/role", row)
    assert found is not None
    return found[1]
