"""The dashboard: projects, experiments and results for people, as HTML that needs no JavaScript."""

from litestar import Response, Router, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from app import problems
from app.http.dashboard import account, people, settings
from app.http.dashboard.access import admit, admit_anybody
from app.http.dashboard.assets import asset_file
from app.http.dashboard.experiment import experiment_page
from app.http.dashboard.experiment_form import (
    edit_experiment_page,
    new_experiment_page,
    preview_of_form,
    save_experiment,
    save_new_experiment,
)
from app.http.dashboard.experiment_list import back_to_experiments, experiments_page
from app.http.dashboard.experiment_steps import back_to_experiment, step_experiment, stop_page
from app.http.dashboard.exports import export_of_events, export_of_results
from app.http.dashboard.live import live_results
from app.http.dashboard.pages import HOME, as_page
from app.http.dashboard.power import power_page
from app.http.dashboard.projects import back_to_projects, projects_page
from app.http.dashboard.sessions import log_in, log_out, login_page, nothing_to_see
from app.http.dashboard.why import why_page
from app.log_writer import Overloaded, Unavailable
from app.problems import Problem
from domain.refusals import Refusal
from projections.archived_log import ArchiveError
from projections.generations import OtherLayoutError


@get("/{rest:path}", include_in_schema=False)
async def no_such_page(rest: FromPath[str]) -> Response[bytes]:
    """Any other address below the dashboard: 404 as a page."""
    raise NotFoundException(f"the dashboard has no page {rest}")


_pages = Router(
    "/",
    route_handlers=[
        projects_page,
        back_to_projects,
        settings.settings_page,
        settings.arrival,
        settings.back_to_settings,
        settings.new_project,
        settings.new_key,
        settings.new_origins,
        people.new_user,
        people.new_role,
        people.another_password,
        people.no_user,
        people.new_link,
        people.no_link,
        account.account_page,
        account.present_session,
        account.choose_password,
        experiments_page,
        back_to_experiments,
        experiment_page,
        why_page,
        live_results,
        export_of_results,
        export_of_events,
        new_experiment_page,
        save_new_experiment,
        preview_of_form,
        edit_experiment_page,
        save_experiment,
        step_experiment,
        back_to_experiment,
        stop_page,
        power_page,
        log_out,
        no_such_page,
    ],
    before_request=admit,
)
dashboard_router = Router(
    HOME,
    route_handlers=[
        login_page,
        log_in,
        nothing_to_see,
        asset_file,
        people.shared_page,
        people.shared_export,
        people.shared_live,
        _pages,
    ],
    before_request=admit_anybody,
    exception_handlers={
        Problem: as_page(problems.answer_problem),
        Refusal: as_page(problems.answer_refusal),
        Overloaded: as_page(problems.answer_overloaded),
        Unavailable: as_page(problems.answer_overloaded),
        ArchiveError: as_page(problems.answer_archive),
        OtherLayoutError: as_page(problems.answer_replaced),
        HTTPException: as_page(problems.answer_http_exception),
        Exception: as_page(problems.answer_defect),
    },
)
