"""Section 9: the messaging patterns, each as a client would use it."""

from tests.conformance.client import DEFAULT_FEED, DOMAIN, Client, expect, unique
from tests.conformance.documents import Element, data_of, message, restms, text


def text_of(received: Element) -> str:
    """Return the only content of a message."""
    (content,) = received["content"]
    return data_of(content).decode()


def test_housecat(speaker: Client) -> None:
    """Section 9: Housecat, one to one: POST to `default` with the pipe's name as the address."""
    # The reader has a pipe, and tells the writer its name.
    pipe = speaker.create_pipe()
    name = speaker.read(pipe)["name"]

    # The writer needs nothing but that name.
    for line in ("Once upon a time", "the end"):
        assert speaker.publish(DEFAULT_FEED, message(name, text(line))) == [1]

    assert text_of(speaker.consume(pipe)) == "Once upon a time"
    assert text_of(speaker.consume(pipe)) == "the end"
    assert speaker.messages(pipe) == []


def test_reverse_housecat(speaker: Client) -> None:
    """Section 9: Reverse Housecat: a request has `reply_to`, where the answer is posted to."""
    server, requester = speaker.create_pipe(), speaker.create_pipe()

    # The requester says where it wants its answer, and waits for that.
    request = message(
        speaker.read(server)["name"],
        text("6 times 7?"),
        reply_to=speaker.read(requester)["name"],
        correlation_id="question 1",
    )
    speaker.publish(DEFAULT_FEED, request)
    answer = speaker.get_later(speaker.asynclet(requester))
    assert answer.waits()

    # The server answers to whoever asked.
    received = speaker.consume(server)
    assert text_of(received) == "6 times 7?"
    reply = message(received["reply_to"], text("42"), correlation_id=received["correlation_id"])
    assert speaker.publish(DEFAULT_FEED, reply) == [1]

    (received,) = speaker.document(expect(answer.answer(), 200))["message"]
    assert (text_of(received), received["correlation_id"]) == ("42", "question 1")


def test_multimaster_housecat(speaker: Client) -> None:
    """Section 9: Multimaster Housecat: several publishers write to one pipe."""
    pipe = speaker.create_pipe()
    name = speaker.read(pipe)["name"]

    # Any number of writers, through whatever nodes, may know the name.
    masters = ("Alice", "Bob", "Carol")
    for n in range(3):
        for master in masters:
            speaker.publish(DEFAULT_FEED, message(name, text(str(n)), sender_id=master))

    # There is one queue of it all, in which the order of each writer is kept.
    received = speaker.receive_all(pipe)
    assert len(received) == 9
    for master in masters:
        assert [text_of(got) for got in received if got["sender_id"] == master] == ["0", "1", "2"]


def test_parrot_by_fanout(speaker: Client) -> None:
    """Section 9: Parrot, one to many: a `fanout` feed with one join for each reader."""
    announcements = speaker.create_feed(unique("announcements"), "fanout")
    readers = [speaker.create_joined(announcements) for _ in range(3)]

    speaker.post_messages(announcements, message("", text("We close at five")))

    assert [text_of(speaker.consume(reader)) for reader in readers] == ["We close at five"] * 3


def test_parrot_by_direct(speaker: Client) -> None:
    """Section 9: Parrot by a `direct` feed: each reader names the addresses that it wants."""
    weather = speaker.create_feed(unique("weather"), "direct")
    oslo = speaker.create_joined(weather, "oslo")
    both = speaker.create_joined(weather, "oslo")
    speaker.join(both, weather, "bergen")

    speaker.post_messages(weather, message("oslo", text("Snow")), message("bergen", text("Rain")))

    assert [text_of(got) for got in speaker.receive_all(oslo)] == ["Snow"]
    assert [text_of(got) for got in speaker.receive_all(both)] == ["Snow", "Rain"]


def test_parrot_by_topic(speaker: Client) -> None:
    """Section 9: Parrot by a `topic` feed: the readers of news groups subscribe by patterns."""
    groups = speaker.create_feed(unique("groups"), "topic")
    pets = speaker.create_joined(groups, "rec.pets.*")
    cats = speaker.create_joined(groups, "#.cats.#")
    everything = speaker.create_joined(groups, "#")

    posted = ("rec.pets.cats", "rec.pets.dogs", "rec.pets.cats.health", "comp.lang.python")
    speaker.post_messages(groups, *[message(group, text(f"In {group}")) for group in posted])

    def read(pipe: str) -> list[str]:
        return [text_of(got).removeprefix("In ") for got in speaker.receive_all(pipe)]

    assert read(pets) == ["rec.pets.cats", "rec.pets.dogs"]
    assert read(cats) == ["rec.pets.cats", "rec.pets.cats.health"]
    assert read(everything) == list(posted)


def test_parrot_by_headers(speaker: Client) -> None:
    """Section 9: Parrot by a `headers` feed: each reader names the headers that it wants."""
    photos = speaker.create_feed(unique("photos"), "headers")
    wanted = [{"name": "format", "value": "png"}, {"name": "colour", "value": "red"}]
    red = speaker.create_joined(photos, header=wanted)
    every = speaker.create_joined(photos)

    for name, colour in (("rose", "red"), ("sky", "blue")):
        headers = [("format", "png"), ("colour", colour)]
        speaker.post_messages(photos, message("", text(name), header=headers))

    assert [text_of(got) for got in speaker.receive_all(red)] == ["rose"]
    assert [text_of(got) for got in speaker.receive_all(every)] == ["rose", "sky"]


def test_wolfpack_of_plain_pipes(speaker: Client) -> None:
    """Section 9: Wolfpack, one of many: a `rotator` gives each job to one worker, in turn."""
    jobs = speaker.create_feed(unique("jobs"), "rotator")
    pack = [speaker.create_joined(jobs) for _ in range(3)]

    for n in range(9):
        speaker.post_messages(jobs, message("", text(f"job {n}")))

    # Each has the same share, and keeps a job until it has acknowledged it.
    done = []
    for wolf in pack:
        share = [text_of(speaker.consume(wolf)) for _ in range(3)]
        assert speaker.messages(wolf) == []
        done += share
    assert sorted(done) == [f"job {n}" for n in range(9)]


def test_wolfpack_of_ondemand_pipes(speaker: Client) -> None:
    """Section 9: Wolfpack by `ondemand` pipes: a worker takes a job when it is free for one."""
    jobs = speaker.create_feed(unique("jobs"), "rotator")
    slow, quick = (speaker.create_joined(jobs, type="ondemand") for _ in range(2))
    speaker.post_messages(jobs, *[message("", text(f"job {n}")) for n in range(1, 5)])

    # The slow one is still at the first job while the quick one does all the others.
    first = speaker.asynclet(slow)
    assert text_of(speaker.receive(first)) == "job 1"
    for n in (2, 3, 4):
        assert text_of(speaker.consume(quick)) == f"job {n}"

    # A worker that has nothing to do waits; the next job goes to it.
    idle = speaker.get_later(speaker.asynclet(quick))
    assert idle.waits()
    speaker.post_messages(jobs, message("", text("job 5")))
    (received,) = speaker.document(expect(idle.answer(), 200))["message"]
    assert text_of(received) == "job 5"

    # A job that was not done when its worker left is done by another.
    speaker.acknowledge(speaker.messages(quick)[0])
    speaker.delete(slow)
    assert text_of(speaker.consume(quick)) == "job 1"


def test_wolfpack_of_a_service(speaker: Client) -> None:
    """Section 9: Wolfpack by a `service` feed: it is there as long as one of its workers is."""
    service = speaker.create_feed(unique("printing"), "service")
    plain, ondemand = (speaker.create_joined(service, type=type_) for type_ in ("", "ondemand"))

    speaker.delete(plain)
    speaker.post_messages(service, message("", text("print this")))
    assert text_of(speaker.consume(ondemand)) == "print this"

    speaker.delete(ondemand)
    expect(speaker.post(service, restms(message=[message("", text("and this"))])), 404)


def test_wolf_call(speaker: Client) -> None:
    """Section 9: Wolf Call, is the service there? GET its feed: 200, or 404."""
    name = unique("answers")
    service = f"/restms/feed/{name}"
    expect(speaker.get(service), 404)

    # It comes with its first worker,
    speaker.create_feed(name, "service")
    worker = speaker.create_joined(service, type="ondemand")
    assert speaker.read(service)["type"] == "service"
    assert name in [feed["name"] for feed in speaker.read(DOMAIN)["feed"]]

    # and goes with its last one.
    speaker.delete(worker)
    expect(speaker.get(service), 404)
    assert name not in [feed["name"] for feed in speaker.read(DOMAIN)["feed"]]


def test_request_and_reply_by_a_service(speaker: Client) -> None:
    """Section 9: a request to a service has `reply_to`; whoever serves it posts to `default`."""
    service = speaker.create_feed(unique("upper-case"), "service")
    workers = [speaker.create_joined(service, type="ondemand") for _ in range(2)]
    calls = [speaker.get_later(speaker.asynclet(worker)) for worker in workers]
    assert all(call.waits(0.05) for call in calls)

    # Two clients call the service, if it is there, and wait for their answers.
    clients = {word: speaker.create_pipe() for word in ("miaow", "purr")}
    answers = {}
    for word, pipe in clients.items():
        expect(speaker.get(service), 200)
        request = message("", text(word), reply_to=speaker.read(pipe)["name"], correlation_id=word)
        speaker.post_messages(service, request)
        answers[word] = speaker.get_later(speaker.asynclet(pipe))

    # Each worker gets one request, and answers it.
    for worker, call in zip(workers, calls, strict=True):
        (request,) = speaker.document(expect(call.answer(), 200))["message"]
        reply = message(
            request["reply_to"],
            text(text_of(request).upper()),
            correlation_id=request["correlation_id"],
        )
        assert speaker.publish(DEFAULT_FEED, reply) == [1]
        speaker.acknowledge(speaker.messages(worker)[0])

    for word, later in answers.items():
        (answer,) = speaker.document(expect(later.answer(), 200))["message"]
        assert (text_of(answer), answer["correlation_id"]) == (word.upper(), word)
