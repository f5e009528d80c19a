"""Pages that are no resource of the protocol, and what serves those of metrics alone."""

from collections.abc import Awaitable, Callable, Mapping

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from restms_cluster.errors import ForbiddenError, RestMSError
from restms_node import metrics
from restms_node.exchange import Answer
from restms_node.problems import problem, sentence
from restms_node.responses import respond, said

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
SAFE = ("GET", "HEAD", "OPTIONS")
ALLOW_READING = ("Allow", ", ".join(SAFE))


def add_pages(
    app: QuartTrio,
    pages: Mapping[str, Callable[[], Awaitable[Answer]]],
    refuse: Callable[[RestMSError], Answer],
) -> None:
    """Serve pages, by their paths, to whoever reads them; `refuse` answers an error."""

    async def page() -> Response:
        if request.method == "OPTIONS":
            return respond(Answer(200, (ALLOW_READING,)))
        if request.method not in SAFE:
            refusal = ForbiddenError(f"{request.method} is not allowed on this resource.")
            return respond(refuse(refusal).having(ALLOW_READING))
        return respond(await pages[request.path]())

    for path in pages:
        app.add_url_rule(path, view_func=page, methods=METHODS, provide_automatic_options=False)


def make_metrics_app(page: metrics.Page) -> QuartTrio:
    """Make the application that serves metrics alone, without asking who wants them."""
    app = QuartTrio("restms_metrics", static_folder=None)

    async def measured() -> Answer:
        try:
            return await page.answer(request.headers.get("Accept"))
        except RestMSError as error:
            return problem(error)

    @app.errorhandler(HTTPException)
    async def failed(error: HTTPException) -> Response:
        return respond(sentence(error.code or 500, said(error)))

    add_pages(app, {metrics.PATH: measured}, problem)
    return app
