"""Authenticators, as they are named in the configuration file."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from restms_cluster.errors import StartError
from restms_node.config import Settings
from restms_node.configured_access import Authenticators, Certificates, Tokens
from restms_node.options import load

TOKENS = """[[authenticator]]
type = "jwt"
issuer = "https://id.example"
audience = ["restms"]
keys = "https://id.example/jwks"
"""
CERTIFICATE = '[[authenticator]]\ntype = "certificate"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "restms.toml"


def loaded(file: Path, text: str, **flags: str) -> Settings:
    file.write_text(text)
    return load({"config": str(file), **flags}, {})


def test_there_is_none_at_first(file: Path) -> None:
    assert loaded(file, "").authenticators == Authenticators()
    assert not loaded(file, "").authenticators


def test_all_of_them_may_be_there(file: Path) -> None:
    found = loaded(
        file,
        f"""
        trusted_proxies = ["10.0.0.0/8"]

        [[authenticator]]
        type = "basic"
        file = "users"

        [[authenticator]]
        type = "keys"
        file = "/etc/restms/keys"

        {TOKENS}

        [[authenticator]]
        type = "jwt"
        issuer = "other"
        audience = ["a", "b"]
        algorithms = ["EdDSA"]
        keys = "keys/other.pem"
        name = "email"
        groups = "roles"
        prefix = "other:"
        leeway = 0

        {CERTIFICATE}
        groups = ["machines"]
        """,
    ).authenticators
    assert found
    assert found.basic == file.parent / "users"
    assert found.keys == Path("/etc/restms/keys")
    url, other = "https://id.example/jwks", file.parent / "keys" / "other.pem"
    assert found.tokens == (
        Tokens(
            "https://id.example", ("restms",), ("RS256", "ES256"), url, "sub", "groups", "", 30.0
        ),
        Tokens("other", ("a", "b"), ("EdDSA",), other, "email", "roles", "other:", 0.0),
    )
    assert found.certificates == Certificates(
        "client-cert", "rfc9440", "", frozenset(("machines",))
    )


def test_a_certificate_may_come_by_its_subject_alone(file: Path) -> None:
    text = CERTIFICATE + 'header = "X-Client-Subject"'
    settings = loaded(file, text, trusted_proxies="::1")
    assert settings.trusted_proxies == (ip_network("::1"),)
    assert settings.authenticators.certificates == Certificates(
        "x-client-subject", "subject", "", frozenset()
    )


def test_keys_may_be_fetched_from_this_machine(file: Path) -> None:
    for url in ("http://127.0.0.1:80/jwks", "http://[::1]/", "http://localhost:1/x"):
        text = TOKENS.replace("https://id.example/jwks", url)
        assert loaded(file, text).authenticators.tokens[0].keys == url


def jwt(line: str) -> str:
    """A table with another line in the place of its own, or one more."""
    key = line.partition(" ")[0]
    return "".join([row + "\n" for row in TOKENS.splitlines() if not row.startswith(key)] + [line])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("\nauthenticator = 1", 2, "under double brackets"),
        ("[authenticator]\ntype = 'basic'", 1, "under double brackets"),
        ("[[authenticator]]", 1, "The type of an authenticator is one of basic, keys, jwt, cert"),
        ("[[authenticator]]\n\ntype = 'ldap'", 3, "The type of an authenticator is one of"),
        ("[[authenticator]]\n\ntype = 5", 3, "must be a text"),
        ("[[authenticator]]\ntype = 'basic'", 1, 'The authenticator "basic" needs the path'),
        ("[[authenticator]]\ntype = 'keys'\nfile = ''", 3, 'The authenticator "keys" needs the'),
        ("[[authenticator]]\ntype = 'keys'\nfile = '~nobody-so/x'", 3, "needs the path"),
        ("[[authenticator]]\ntype = 'basic'\nfiles = 'x'", 3, 'unknown key "files"'),
        (
            "[[authenticator]]\ntype = 'basic'\nfile = 'a'\n" * 2,
            4,
            'There is an authenticator "basic" already.',
        ),
        (TOKENS + TOKENS, 8, "for this issuer already"),
        (jwt("issuer = ''"), 5, "must not be empty"),
        (TOKENS.replace('issuer = "https://id.example"\n', ""), 1, "needs an issuer"),
        (jwt("audience = []"), 5, "needs an audience"),
        (jwt("audience = 'restms'"), 5, "must be a list of texts"),
        (jwt("algorithms = ['none']"), 6, "are some of RS256"),
        (jwt("algorithms = ['HS256']"), 6, "are some of RS256"),
        (jwt("algorithms = []"), 6, "are some of RS256"),
        (jwt("leeway = 301"), 6, "from 0 to 300 seconds"),
        (jwt("leeway = nan"), 6, "from 0 to 300 seconds"),
        (jwt("leeway = true"), 6, "must be a number"),
        (jwt("keys = 'http://id.example/jwks'"), 5, "fetched by https"),
        (jwt("keys = 'http://127.0.0.1.example/jwks'"), 5, "fetched by https"),
        (jwt("keys = 'https://'"), 5, "at no URL"),
        (jwt("keys = 'https://user:word@id.example/'"), 5, "at no URL"),
        (jwt("keys = 'https://id.example:x/'"), 5, "at no URL"),
        (jwt("keys = 'https://id.example/\\u00e9'").replace("'", '"'), 5, "at no URL"),
        (jwt("keys = ''"), 5, "needs the path of a file as keys"),
        (jwt("prefix = ' '"), 6, "cannot begin a name"),
        (jwt("secret = 'x'"), 6, 'unknown key "secret"'),
        (CERTIFICATE, 1, "needs trusted_proxies"),
        ("trusted_proxies = ['::1']\n" + CERTIFICATE + "header = 'a b'", 4, "not a name for it"),
        (
            "trusted_proxies = ['::1']\n" + CERTIFICATE + "header = 'Authorization'",
            4,
            "not a name for it",
        ),
        ("trusted_proxies = ['::1']\n" + CERTIFICATE + "form = 'pem'", 4, "rfc9440 or subject"),
        ("trusted_proxies = ['::1']\n" + CERTIFICATE + "groups = ['']", 4, "are names of up to"),
        ("trusted_proxies = ['::1']\n" + CERTIFICATE * 2, 4, "already"),
    ],
)
def test_a_fault_is_told_with_its_line(file: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(StartError) as caught:
        loaded(file, text)
    sentence = str(caught.value)
    assert sentence.startswith(f"{file}:{line}: ")
    assert reason in sentence
    assert sentence.endswith(".")
