"""What the chart renders is read by the real server: its file, its variables, its secrets."""

import re
from pathlib import Path

import pytest
import yaml

from restms_cluster.levels import Level
from restms_cluster.topology import parse_topology
from restms_node import command
from restms_node.config import Settings
from restms_node.options import load
from restms_node.rules import Verb
from tests.chart.cases import AUTHENTICATED, CASES, INGRESS, PROXIED, TUNED
from tests.chart.conftest import Rendered
from tests.chart.kubelet import Container
from tests.chart.manifests import CHART, PRODUCTION, TRIAL, Manifest, Manifests
from tests.chart.secrets_there import SECRETS


def container_of(manifests: Manifests, root: Path) -> Container:
    return Container(manifests, manifests.node, root, SECRETS)


def settings_of(manifests: Manifests, root: Path) -> Settings:
    return load({}, container_of(manifests, root).environment)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_check_config_says_that_a_node_would_start(
    rendered: Rendered,
    values: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in container_of(rendered(values), tmp_path).environment.items():
        monkeypatch.setenv(name, value)
    assert command.main(["check-config"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == "OK\n"


def test_options_arrive_as_they_are(rendered: Rendered, tmp_path: Path) -> None:
    settings = settings_of(rendered(PRODUCTION, TUNED), tmp_path)
    assert settings.bind == "0.0.0.0:8080"
    assert settings.wait_seconds == 110
    assert settings.max_waits == 123456789
    assert settings.drain_delay_seconds == 0
    assert settings.drain_seconds == 2.5
    assert settings.reread_seconds == 0.25
    assert settings.codings == ()
    assert settings.cors_origins == ("https://app.example",)
    assert settings.request_rate is not None
    assert settings.lane is False
    assert settings.log_level == "warning"
    assert settings.limits.content_bytes == 64 << 20
    assert settings.limits.document_bytes == 4 << 20


def test_domains_feeds_and_who_comes_in_arrive_as_they_are(
    rendered: Rendered, tmp_path: Path
) -> None:
    settings = settings_of(rendered(PRODUCTION, PROXIED), tmp_path)
    sales, default = settings.domains
    assert sales.title == 'Sales "and" orders\\ <all>'
    assert sales.waits_per_domain == 500
    assert default.bytes_per_domain == 64 << 20
    by_name = {feed.name: feed for feed in default.feeds}
    assert by_name["orders.new"].type == "fanout"
    assert by_name["orders.new"].dead_letter == "letters"
    assert by_name["letters"].durability == Level.DISK
    assert [str(network) for network in settings.trusted_proxies] == ["10.244.0.0/16", "fd00::/64"]
    assert settings.authenticators.certificates is not None
    assert settings.authenticators.certificates.groups == {"machines"}


@pytest.mark.parametrize(
    "text",
    ['"', "\\", "'''", "a\nb", "\t", "<&>", "{{ .Values }}", "$(HOME)", "#", "é 漢 😀", "= [[x]]"],
)
def test_any_text_may_stand_in_a_title(rendered: Rendered, tmp_path: Path, text: str) -> None:
    titled = {"config": {"domain": [{"name": "d", "title": f"a{text}b"}]}}
    text_of = load({}, container_of(rendered(PRODUCTION, titled), tmp_path).environment)
    assert text_of.domains[-1].title == f"a{text}b"


def test_the_values_that_the_readme_shows_are_good(rendered: Rendered, tmp_path: Path) -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    manifests = rendered(yaml.safe_load(shown))
    there = {"restms-redis": SECRETS["our-redis"], "restms-auth": SECRETS["our-users"]}
    settings = load({}, Container(manifests, manifests.node, tmp_path, there).environment)
    assert settings.redis == SECRETS["our-redis"]["url"]
    assert [rule.group or rule.principal for rule in settings.rules] == ["staff", "billing"]


def test_without_more_there_is_one_key_that_may_do_everything(
    rendered: Rendered, tmp_path: Path
) -> None:
    settings = settings_of(rendered(TRIAL), tmp_path)
    assert not settings.insecure
    assert settings.authenticators.keys == tmp_path / "etc/restms-auth/keys"
    [rule] = settings.rules
    assert (rule.principal, rule.verbs) == ("admin", frozenset(Verb))


def test_rules_of_the_values_are_added_to_that_key(rendered: Rendered, tmp_path: Path) -> None:
    open_feed = {"principal": "anonymous", "verbs": ["publish"], "domain": "*", "feed": "inbox"}
    settings = settings_of(rendered(TRIAL, {"config": {"rule": [open_feed]}}), tmp_path)
    assert [rule.principal for rule in settings.rules] == ["admin", "anonymous"]


def test_whoever_names_authenticators_has_those_alone(rendered: Rendered, tmp_path: Path) -> None:
    manifests = rendered(PRODUCTION, AUTHENTICATED)
    settings = settings_of(manifests, tmp_path)
    assert settings.authenticators.basic == tmp_path / "etc/restms-auth/users"
    assert [rule.group or rule.principal for rule in settings.rules] == ["staff", "billing"]
    assert "Secret" not in manifests.kinds()


def test_insecure_is_said_and_not_fallen_into(rendered: Rendered, tmp_path: Path) -> None:
    settings = settings_of(rendered(TRIAL, {"auth": {"insecure": True}}), tmp_path)
    assert settings.insecure
    assert not settings.authenticators


def test_redis_is_the_one_that_a_secret_names_or_the_charts(
    rendered: Rendered, tmp_path: Path
) -> None:
    theirs = settings_of(rendered(PRODUCTION), tmp_path / "theirs")
    assert theirs.redis == SECRETS["our-redis"]["url"]
    ours = settings_of(rendered(TRIAL), tmp_path / "ours")
    # Shown without its password.
    assert str(parse_topology(ours.redis)) == "redis://restms-valkey:6379/0"


def test_the_base_url_is_one_that_nodes_take(rendered: Rendered, tmp_path: Path) -> None:
    assert settings_of(rendered(TRIAL, INGRESS), tmp_path).base_url == "https://messages.example"
