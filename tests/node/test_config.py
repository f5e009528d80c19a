"""Settings: one table of options; flags go before the environment, that before the file."""

import logging
import re
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import StartError
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Limits
from restms_cluster.names import FeedName
from restms_cluster.rates import Rate
from restms_node.config import Settings
from restms_node.options import load, options

DEFAULT_FEED = ConfiguredFeed("default", title="Default feed")
DEFAULT_DOMAIN = ConfiguredDomain("default", "Default domain", (DEFAULT_FEED,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "restms.toml"


def loaded(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load({"config": str(file)}, {})


def fault(flags: dict[str, str], environment: dict[str, str] | None = None) -> str:
    """Load settings that have a fault; return the sentence."""
    with pytest.raises(StartError) as caught:
        load(flags, environment or {})
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def fault_in(file: Path, text: str) -> str:
    file.write_text(text)
    sentence = fault({"config": str(file)})
    assert sentence.startswith(str(file))
    return sentence


def test_nothing_needs_to_be_configured() -> None:
    settings = load({}, {})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.redis == ""
    assert settings.data_dir.is_absolute()
    assert settings.wait_seconds == 55
    assert settings.limits == Limits()
    assert settings.domains == (DEFAULT_DOMAIN,)
    assert settings == Settings()


def test_a_flag_goes_before_the_environment_and_that_before_the_file(file: Path) -> None:
    file.write_text("max_waits = 1\nwait_seconds = 1\nreread_seconds = 1\n")
    environment = {
        "RESTMS_CONFIG": str(file),
        "RESTMS_MAX_WAITS": "2",
        "RESTMS_WAIT_SECONDS": "2",
    }
    settings = load({"max_waits": "3"}, environment)
    assert settings.max_waits == 3
    assert settings.wait_seconds == 2
    assert settings.reread_seconds == 1


def test_the_flag_names_the_file_before_the_environment_does(file: Path, tmp_path: Path) -> None:
    file.write_text("max_waits = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("max_waits = 2\n")
    assert load({"config": str(file)}, {"RESTMS_CONFIG": str(other)}).max_waits == 1


def test_every_limit_is_an_option_in_all_three_places(file: Path) -> None:
    table = {option.name: option for option in options()}
    for limit in fields(Limits):
        option = table[limit.name]
        assert option.flag == "--" + limit.name.replace("_", "-")
        for settings in (
            load({limit.name: "7"}, {}),
            load({}, {option.variable: "7"}),
            loaded(file, f"{limit.name} = 7\n"),
        ):
            assert getattr(settings.limits, limit.name) == 7
            assert type(getattr(settings.limits, limit.name)) is limit.type


def test_the_file_may_have_all_of_it(file: Path) -> None:
    settings = loaded(
        file,
        """
        bind = "[::1]:0"
        redis = "redis://redis.example/3"
        data_dir = "/var/lib/restms"
        base_url = "https://example.org/mq/"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        cors_origins = ["https://Example.org", "http://localhost:3000"]
        drain_delay_seconds = 0
        log_level = "WARNING"
        document_bytes = "1MiB"
        """,
    )
    assert (settings.host, settings.port) == ("::1", 0)
    assert settings.redis == "redis://redis.example/3"
    assert settings.data_dir == Path("/var/lib/restms")
    assert settings.base_url == "https://example.org/mq"
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.cors_origins == ("https://example.org", "http://localhost:3000")
    assert settings.drain_delay_seconds == 0
    assert settings.log_level == "warning"
    assert settings.limits.document_bytes == 1024 * 1024


def test_lists_are_comma_separated_in_the_environment() -> None:
    environment = {"RESTMS_TRUSTED_PROXIES": "10.0.0.0/8, ::1", "RESTMS_CORS_ORIGINS": "*"}
    settings = load({}, environment)
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.cors_origins == ("*",)


def test_an_empty_value_takes_back_what_the_file_says(file: Path) -> None:
    file.write_text('redis = "redis://a"\ncors_origins = ["*"]\nbase_url = "http://a"\n')
    settings = load({"config": str(file), "redis": "", "cors_origins": "", "base_url": ""}, {})
    assert (settings.redis, settings.cors_origins, settings.base_url) == ("", (), "")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("4096", 4096),
        ("1KiB", 1024),
        ("64k", 65_536),
        ("8 MiB", 8 << 20),
        ("1G", 1 << 30),
    ],
)
def test_sizes_may_have_a_unit(text: str, size: int) -> None:
    assert load({"content_bytes": text}, {}).limits.content_bytes == size


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("bind", text) for text in ("", "8080", "::1:80", "[::1]", "a:65536", "a:-1", "a b:80")),
        *(("max_waits", text) for text in ("", "0", "-1", "1.5", "1k", "x", "9" * 30, "9" * 5000)),
        *(("wait_seconds", text) for text in ("0", "-1", "nan", "inf", "1e999", "soon", "")),
        *(("content_bytes", text) for text in ("0", "1TB", "1.5MiB", "-1", "MiB", "")),
        *(("base_url", text) for text in ("example.org", "ftp://example.org", "http://", "/mq")),
        *(("base_url", text) for text in ("http://a?b", "http://a#b", "http://u@a", "http://a b")),
        *(
            ("base_url", text)
            for text in ("http://a:0", "http://a:99999", "http://[::1", "http://<")
        ),
        *(("trusted_proxies", text) for text in ("10.0.0.1/8", "proxy", "10.0.0.0/33")),
        *(("extra_profiles", text) for text in ("my-profile", "a..b", ".a", "a b")),
        *(("cors_origins", text) for text in ("example.org", "https://example.org/", "null")),
        *(("log_level", text) for text in ("loud", "")),
        *(("data_dir", text) for text in ("", "~nobody-of-that-name/data", "a\0b")),
    ],
)
def test_a_bad_value_is_refused_wherever_it_is_given(name: str, text: str) -> None:
    variable = f"RESTMS_{name.upper()}"
    assert fault({name: text}).startswith(f"--{name.replace('_', '-')} must be ")
    assert fault({}, {variable: text}).startswith(f"{variable} must be ")


@pytest.mark.parametrize(
    "line",
    [
        "max_waits = '1'",
        "max_waits = true",
        "max_waits = 1.0",
        "wait_seconds = '5'",
        "wait_seconds = inf",
        "bind = 8080",
        "redis = false",
        "cors_origins = '*'",
        "cors_origins = [1]",
        "cors_origins = ['http://a,http://b']",
        "trusted_proxies = [['10.0.0.0/8']]",
        "content_bytes = 1.5",
        "log_level = 1979-05-27",
    ],
)
def test_a_value_of_another_type_is_refused_in_the_file(file: Path, line: str) -> None:
    name = line.partition(" ")[0]
    assert f": {name} must be " in fault_in(file, line)


@given(text=st.text(), name=st.sampled_from([option.name for option in options()]))
def test_any_text_is_a_value_or_a_fault(name: str, text: str) -> None:
    try:
        load({name: text}, {})
    except StartError as error:
        assert re.search(r" (must be|cannot be imported:) .*\.$", str(error))  # noqa: PT017, either is right


def test_a_fault_of_the_file_is_told_with_its_line(file: Path) -> None:
    assert fault_in(file, "max_waits = 1\nmax_waits 2\n").startswith(f"{file}:2: ")
    assert fault_in(file, "max_waits = 1\nredis = [\n").startswith(f"{file}:2: ")
    assert fault_in(file, "\n\nmax_waits = 0").startswith(f"{file}:3: max_waits must be ")
    two = "[[domain]]\nname = 'a'\n\n[[domain]]\nname = 'b'\ntitel = 'c'"
    assert fault_in(file, two).startswith(f"{file}:6: The domain ")


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    assert fault({"config": str(file)}) == f"{file} cannot be read: No such file or directory."
    file.write_bytes(b"redis = '\xff'")
    assert fault({"config": str(file)}) == f"{file}:1: This is not TOML: it is not in UTF-8."


def test_a_key_that_is_no_option_is_refused(file: Path) -> None:
    assert fault_in(file, "wait_secs = 1") == f'{file}:1: There is no option "wait_secs".'
    rules = "workers = 1\n[[rules]]\na = 1\n[[rules]]\na = 2"
    assert fault_in(file, rules) == f'{file}:2: There is no option "rules".'


def test_a_variable_that_is_no_option_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load({}, {"RESTMS_PORT": "tcp://10.0.0.1:80", "HOME": "/"})
    assert caplog.messages == ["no option, ignored: RESTMS_PORT"]


def test_a_password_is_not_shown_with_the_settings() -> None:
    settings = load({"redis": "redis://:secret@redis.example"}, {})
    assert "secret" not in repr(settings)


def test_a_user_without_a_home_must_say_where_data_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda _: Path("~/.local/share/restms"))
    assert "--data-dir" in fault({})
    assert load({"redis": "redis://redis.example"}, {}).redis
    assert load({"data_dir": "/data"}, {}).data_dir == Path("/data")


def test_domains_and_their_feeds_are_named_in_the_file(file: Path) -> None:
    settings = loaded(
        file,
        """
        [[domain]]
        name = "weather"
        title = "Weather reports"

        [[domain.feed]]
        name = "alerts"
        type = "fanout"
        title = "Storms"
        license = "CC0"

        [[domain]]
        name = "chess"
        """,
    )
    alerts = ConfiguredFeed("alerts", "fanout", "Storms", "CC0")
    assert settings.domains == (
        DEFAULT_DOMAIN,
        ConfiguredDomain("weather", "Weather reports", (DEFAULT_FEED, alerts)),
        ConfiguredDomain("chess", "", (DEFAULT_FEED,)),
    )


def test_a_feed_adds_to_the_durability_of_the_server(file: Path) -> None:
    file.write_text("durability = 'disk'\n" + FEED + "name = 'a'\ndurability = 'replicas'")
    levels = load({"config": str(file)}, {"RESTMS_REPLICAS": "2"}).levels
    assert str(levels.of(FeedName("d", "a"))) == "disk+replicas"
    assert str(levels.of(FeedName("d", "default"))) == "disk"
    assert levels.replicas == 2


def test_the_default_domain_and_feed_may_have_other_titles(file: Path) -> None:
    settings = loaded(
        file,
        """
        [[domain]]
        name = "default"

        [[domain.feed]]
        name = "default"
        title = "Everything"

        [[domain.feed]]
        name = "news"
        """,
    )
    feeds = (ConfiguredFeed("default", title="Everything"), ConfiguredFeed("news"))
    assert settings.domains == (ConfiguredDomain("default", "Default domain", feeds),)


FEED = "[[domain]]\nname = 'd'\n[[domain.feed]]\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("domain = 1", "double brackets"),
        ("[domain]\nname = 'a'", "double brackets"),
        ("[[domain]]", "needs a name"),
        ("[[domain]]\nname = 'a.b'", 'domain "a.b" needs a name'),
        ("[[domain]]\nname = 5", "The name of the domain must be a text"),
        ("[[domain]]\nname = 'a'\ntitel = 'b'", 'unknown key "titel"'),
        ('[[domain]]\nname = "a"\ntitle = "\\u0000"', "XML cannot carry"),
        ("[[domain]]\nname = 'a'\n[[domain]]\nname = 'a'", 'domain "a" is there twice'),
        ("[[domain]]\nname = 'a'\nfeed = ['b']", "double brackets"),
        (FEED, "not well named"),
        (f"{FEED}name = 'a/b'", 'feed "a/b" of the domain "d" is not well named'),
        (f"{FEED}name = '{'a' * 256}'", "at most 255 characters"),
        (f"{FEED}name = 'a'\ntype = ['fanout']", "The type of the feed"),
        (f"{FEED}name = 'a'\nlicence = 'CC0'", 'unknown key "licence"'),
        (f"{FEED}name = 'default'\ntype = 'fanout'", "always has the empty type"),
        (f"{FEED}name = 'a'\ntype = 'tpoic'", "must be one of direct, fanout, headers"),
        (f"{FEED}name = 'a'\n[[domain.feed]]\nname = 'a'", 'feed "a" is there twice'),
        (f"{FEED}name = 'a'\ndead_letter = 'b'", 'dead_letter of the feed "a"'),
        (f"{FEED}name = 'a'\ndurability = 'most'", "must be one of node, disk, replicas, disk+rep"),
        (f"feeds_per_domain = 1\n{FEED}name = 'a'", "more than 1 feeds"),
    ],
)
def test_a_fault_in_a_domain_is_told(file: Path, text: str, reason: str) -> None:
    assert reason in fault_in(file, text)


@pytest.mark.parametrize(("text", "value"), [("on", True), ("Off", False), ("true", True)])
def test_a_switch_is_on_or_off(text: str, value: bool) -> None:
    assert load({}, {"RESTMS_LANE": text}).lane is value
    assert load({"lane": text}, {}).lane is value


def test_a_switch_in_the_file_is_a_truth_or_a_word(file: Path) -> None:
    assert loaded(file, "lane = false").lane is False
    assert loaded(file, 'lane = "off"').lane is False
    assert "lane must be on or off" in fault_in(file, "lane = 0")
    assert "RESTMS_LANE must be on or off" in fault({}, {"RESTMS_LANE": "maybe"})


def test_a_quota_of_bytes_is_a_size_or_off(file: Path) -> None:
    assert loaded(file, "").limits.bytes_per_domain == 0
    assert loaded(file, 'bytes_per_domain = "64MiB"').limits.bytes_per_domain == 64 << 20
    assert load({"bytes_per_domain": "off"}, {}).limits.bytes_per_domain == 0
    assert "bytes_per_domain must be off, or a size" in fault_in(file, "bytes_per_domain = -1")


def test_a_domain_may_have_limits_of_its_own(file: Path) -> None:
    settings = loaded(
        file,
        """
        pipes_per_domain = 9
        [[domain]]
        name = "small"
        feeds_per_domain = 3
        """,
    )
    small = settings.domains[-1]
    assert (small.feeds_per_domain, small.pipes_per_domain) == (3, None)
    sized = loaded(file, '[[domain]]\nname = "small"\nbytes_per_domain = "8 MiB"\n').domains[-1]
    assert sized.bytes_per_domain == 8 << 20
    waited = loaded(file, '[[domain]]\nname = "small"\nwaits_per_domain = 5\n').domains[-1]
    assert waited.waits_per_domain == 5
    with pytest.raises(StartError, match="feeds_per_domain of the domain"):
        loaded(file, '[[domain]]\nname = "small"\nfeeds_per_domain = 0\n')


def test_rates_are_so_many_in_a_time(file: Path) -> None:
    assert load({"request_rate": "500/5s"}, {}).request_rate == Rate(500, 5)
    assert load({"request_rate": "off"}, {}).request_rate is None
    for wrong in ("100", "0/s", "1/0s", "-1/s", "1/day", "1/3601s", "9999999999999/s", ""):
        with pytest.raises(StartError, match="--request-rate must be off, or so many"):
            load({"request_rate": wrong}, {})


@pytest.mark.parametrize(
    "entry", ['messages = "1/s"', 'principal = "a"\ngroup = "b"', 'principal = "a"\nrequests = 5']
)
def test_a_wrong_rate_is_told(file: Path, entry: str) -> None:
    with pytest.raises(StartError, match="rate 1"):
        loaded(file, f"[[rate]]\n{entry}\n")
