"""Running commands, on whatever carries them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from redis.exceptions import ResponseError

from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Answer, Argument, Reply, UndoneError, pack
from restms_cluster.pipeline import Pipeline


class Calls(ABC):
    """Something that commands can be run on: a connection, or a link before it is one's."""

    async def call(self, *args: Argument, retry: bool = False) -> Reply:
        """Run one command and return its reply.

        `retry` tells that it may be repeated if the link is lost, which is
        right for reads. Raises StateUnavailableError when Redis cannot be
        reached or cannot serve now, ResponseError for any other error reply.
        """
        answer = (await self._request(pack(*args), 1, retry=retry))[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call_many(
        self, commands: Sequence[Sequence[Argument]], *, retry: bool = False
    ) -> list[Reply | ResponseError]:
        """Run commands in one round trip, in order; return their replies and error replies.

        Raises StateUnavailableError when Redis cannot be reached, or answers
        any one of them with an error that means that it cannot serve now;
        UndoneError only if none of them was carried out.
        """
        answers = await self.answers(commands, retry=retry)
        replies: list[Reply | ResponseError] = []
        for answer in answers:
            if isinstance(answer, StateUnavailableError):
                if len(answers) == 1 or all(isinstance(one, UndoneError) for one in answers):
                    raise answer
                raise StateUnavailableError(answer.text)
            replies.append(answer)
        return replies

    async def answers(
        self, commands: Sequence[Sequence[Argument]], *, retry: bool = False
    ) -> list[Answer]:
        """Run commands as `call_many` does; return what each of them is answered, whatever it is.

        Raises StateUnavailableError when Redis cannot be reached.
        """
        if not commands:
            return []
        data = b"".join([pack(*command) for command in commands])
        return await self._request(data, len(commands), retry=retry)

    @abstractmethod
    async def _request(self, data: bytes, count: int, *, retry: bool) -> list[Answer]:
        """Carry so many packed commands over, and their answers back."""


class Beginning(Calls):
    """A new link, before anybody else may use it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def _request(self, data: bytes, count: int, *, retry: bool) -> list[Answer]:  # noqa: ARG002, a link has no other
        return await self._pipeline.request(data, count)
