"""Which refusals tell that nothing was done at all."""

import pytest

from restms_cluster.calls import Calls
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Answer, DemotedError, MovedError, UndoneError, error_reply

MOVED = error_reply("MOVED 3999 127.0.0.1:6381")
READONLY = error_reply("READONLY You can't write against a read only replica.")
MOVING = error_reply("TRYAGAIN The slot is being moved.")
ASK = error_reply("ASK 3999 127.0.0.1:6381")


class Answered(Calls):
    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)

    async def _request(self, data: bytes, count: int, *, retry: bool) -> list[Answer]:
        return self._answers


def test_what_may_be_repeated_elsewhere() -> None:
    assert isinstance(MOVED, MovedError)
    assert isinstance(READONLY, DemotedError)
    for refusal in (MOVED, READONLY):
        assert isinstance(refusal, UndoneError)
    for refusal in (MOVING, ASK):
        assert isinstance(refusal, StateUnavailableError)
        assert not isinstance(refusal, UndoneError)


async def test_commands_of_which_none_was_carried_out() -> None:
    with pytest.raises(MovedError):
        await Answered(MOVED, MOVED).call_many([("SET", "a", 1), ("SET", "b", 2)])


@pytest.mark.parametrize("answers", [(b"OK", MOVED), (MOVED, b"OK"), (MOVED, MOVING)])
async def test_commands_of_which_some_may_have_been_carried_out(
    answers: tuple[Answer, ...],
) -> None:
    with pytest.raises(StateUnavailableError) as caught:
        await Answered(*answers).call_many([("SET", "a", 1), ("SET", "b", 2)])
    assert not isinstance(caught.value, UndoneError)
