"""What the nodes answer is what the description says, whatever is asked of them."""

import itertools

import schemathesis
from hypothesis import settings
from schemathesis import CheckContext, Response
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import content_type_conformance

from tests.nodes import Cluster
from tests.openapi.conftest import Resources
from tests.openapi.described import JSON, linked, loaded, narrowed

# Public feeds of other domains and private ones have what the others have: their bodies once.
AGAIN = ["post_feed_of_domain", "post_private_feed", "change_feed_of_domain", "change_private_feed"]

schema = loaded(narrowed()).exclude(operation_id=AGAIN)
turn = itertools.count()
TRANSPORT = {"date", "content-type", "content-length", "transfer-encoding", "connection"}


def no_other_headers(_: CheckContext, response: Response, case: schemathesis.Case) -> None:
    """An answer has no header that the description does not have."""
    said = case.operation.responses.find_by_status_code(response.status_code)
    if said is not None:
        known = {name.lower() for name, _ in said.headers.items()}
        assert set(response.headers) <= TRANSPORT | known


def content_of_a_type(
    context: CheckContext, response: Response, case: schemathesis.Case
) -> bool | None:
    """An answer's type is one of the description; where there is nothing, there is no type."""
    return content_type_conformance(context, response, case) if response.content else None


CHECKS = [no_other_headers, content_of_a_type]


@schema.parametrize()
def test_an_answer_is_as_described(
    case: schemathesis.Case, cluster: Cluster, resources: Resources
) -> None:
    if not aimed_elsewhere(case):
        if case.method == "DELETE":
            resources.renew()
        case.path_parameters.update(resources.fields.get(case.path, {}))
    case.headers["Prefer"] = "wait=0"
    case.call_and_validate(
        base_url=cluster.urls[next(turn) % 2],
        headers={"Accept": JSON},
        additional_checks=CHECKS,
    )


def test_one_thing_after_another(cluster: Cluster, resources: Resources) -> None:
    done = set()

    class Client(loaded(linked()).as_state_machine()):
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, object]:
            case.headers["Prefer"] = "wait=0"
            return {"base_url": cluster.urls[next(turn) % 2], "headers": {"Accept": JSON}}

        def validate_response(
            self, response: Response, case: schemathesis.Case, **options: object
        ) -> None:
            done.add((case.method, case.path, response.status_code))
            super().validate_response(response, case, additional_checks=CHECKS, **options)

    Client.run(
        settings=settings(max_examples=20, stateful_step_count=10, deadline=None, derandomize=True)
    )
    feed, pipe = "/restms/resource/f{secret}", "/restms/resource/p{secret}"
    assert {("GET", feed, 200), ("GET", feed, 404), ("POST", pipe, 201)} <= done


def aimed_elsewhere(case: schemathesis.Case) -> bool:
    """Tell whether it is the path that is wrong on purpose."""
    path = case.meta.components.get(ParameterLocation.PATH)
    return path is not None and path.mode.is_negative
