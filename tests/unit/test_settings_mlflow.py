"""MLflow's settings in production: what excludes what, and the words that say so."""

from __future__ import annotations

from typing import Any

import pytest

import settings
from components.manifests import mlflow_files, sign_in_secrets
from settings.mlflow import Mlflow

DATABASE = {"host": "db.example.com", "ca": "ca.pem"}
OIDC = {"issuer": "https://login.example.com", "client_id": "mlflow", "groups": ["risk"]}
BASIC = {
    "url": "https://mlflow.example.com",
    "sign_in": {"host": "mlflow.example.com", "basic": True},
}
HASH = "$2b$10$" + "a" * 53


def faults(**mlflow: Any) -> list[str]:
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse({"context": "test", "registry": "r:5000", "mlflow": mlflow})
    return caught.value.faults


def test_defaults_are_what_they_were() -> None:
    found = Mlflow()
    assert (found.replicas, found.database, found.backups, found.sign_in) == (1, None, None, None)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"replicas": 2},
            "replicas: 2 are more than SQLite bears, which has one writer; "
            "set slipway:mlflow.database",
        ),
        ({"replicas": 0}, "replicas: 0 is not a whole number of replicas from 1 to 20"),
        (
            {"database": {"host": "db.example.com"}},
            "database.ca: is not set; it takes a file of PEM with the authorities that vouch for "
            "the database's certificate",
        ),
        ({"database": {"ca": "ca.pem"}}, "database.host: is not set; it takes the database's host"),
        (
            {"database": DATABASE | {"sslmode": "disable"}},
            'database.sslmode: "disable" is not one of verify-full or require',
        ),
        (
            {"database": DATABASE | {"host": "Db/x"}},
            'database.host: "Db/x" is not a host\'s name in lower case',
        ),
        ({"database": DATABASE | {"port": 0}}, "database.port: 0 is not a port from 1 to 65535"),
        (
            {"database": DATABASE | {"name": "a?sslmode=disable"}},
            "database.name: \"a?sslmode=disable\" is not a name of A-Z, a-z, 0-9, '_' and '-'",
        ),
        (
            {"backups": {}},
            'backups.schedule: "15 3 * * *" is of a PostgreSQL, and there is none; '
            "set slipway:mlflow.database",
        ),
        (
            {"database": DATABASE, "backups": {"schedule": "daily"}},
            'backups.schedule: "daily" is not a schedule of cron such as 15 3 * * *',
        ),
        (
            {"database": DATABASE, "backups": {"keep": 366}},
            "backups.keep: 366 is not a whole number of dumps from 1 to 365",
        ),
        (
            BASIC | {"service_type": "NodePort"},
            'service_type: "NodePort" leads past the sign-in; with sign_in it is ClusterIP',
        ),
        (
            BASIC | {"allow_from": ["10.0.0.0/8"]},
            'allow_from: ["10.0.0.0/8"] leads past the sign-in; with sign_in everybody comes by '
            "the gateway, whose own networks are slipway:gateway.allow_from",
        ),
        (
            BASIC | {"url": "http://mlflow.example.com"},
            'url: "http://mlflow.example.com" shows passwords and cookies to whoever listens; with '
            "sign_in it begins with https://, and the gateway has TLS (slipway:gateway.tls)",
        ),
        (
            {"sign_in": BASIC["sign_in"]},
            "url: is not set; with sign_in it takes the URL of its host at the gateway, as in "
            "https://mlflow.example.com",
        ),
        (
            BASIC | {"url": "https://other.example.com"},
            'url: "https://other.example.com" is not of the host of sign_in, mlflow.example.com',
        ),
        (
            {"sign_in": {"host": "mlflow.example.com"}},
            "sign_in.basic: false is not true, and oidc is not set; MLflow is never open: give "
            "one of the two",
        ),
        (
            {"sign_in": {"host": "mlflow.example.com", "basic": True, "oidc": OIDC}},
            "sign_in.basic: true excludes oidc; keep one",
        ),
        (
            {"sign_in": {"host": "mlflow.example.com", "oidc": OIDC | {"groups": []}}},
            "sign_in.oidc.emails: is not set, and neither is groups; the issuer may know more "
            "people than MLflow is for: name some, or their domain as in @example.com",
        ),
        (
            {"sign_in": {"host": "m.example.com", "oidc": OIDC | {"emails": ["*"]}}},
            'sign_in.oidc.emails[0]: "*" is not an address such as ada@example.com, or a domain '
            "such as @example.com",
        ),
        (
            {"sign_in": {"host": "m.example.com", "oidc": OIDC | {"issuer": "http://login.x"}}},
            'sign_in.oidc.issuer: "http://login.x" is not the https URL of an issuer such as '
            "https://login.example.com/realms/people",
        ),
    ],
)
def test_each_fault_is_one_line(keys: dict[str, Any], line: str) -> None:
    assert faults(**keys) == [f"slipway:mlflow.{line}"]


@pytest.mark.parametrize(
    "schedule",
    [
        "99 77 * * *",
        "60 3 * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 32 * *",
        "0 0 1 13 *",
        "0 0 * * 7",
    ]
    + [
        "5-3 * * * *",
        "*/0 * * * *",
        "0 3 * *",
        "0 3 * * * *",
        "@daily",
        "1,,2 * * * *",
        "- * * * *",
    ],
)
def test_what_is_no_schedule(schedule: str) -> None:
    (line,) = faults(database=DATABASE, backups={"schedule": schedule})
    assert line.endswith(f'schedule: "{schedule}" is not a schedule of cron such as 15 3 * * *')


@pytest.mark.parametrize(
    "schedule", ["15 3 * * *", "*/30 0-23/6 1,15,31 1-12 0,6", "0 0 1 1 0-6", "5/20 3 * * 1-5"]
)
def test_a_schedule_of_cron(schedule: str) -> None:
    given = {"database": DATABASE, "backups": {"schedule": schedule, "keep": 365}}
    found = Mlflow.model_validate(given).backups
    assert found is not None and (found.schedule, found.keep) == (schedule, 365)


@pytest.mark.parametrize("url", ["https://mlflow.example.com", "https://MLflow.example.com:8443"])
def test_models_have_another_host(url: str) -> None:
    given = {"context": "test", "registry": "r:5000", "mlflow": BASIC, "gateway": {"url": url}}
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse(given)
    assert caught.value.faults == [
        'slipway:mlflow.sign_in.host: "mlflow.example.com" is the host of gateway.url too, and '
        "MLflow's has no models; it takes one of its own"
    ]
    settings.parse(given | {"gateway": {"url": "https://models.example.com"}})


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        ({}, "mlflow.database.ca"),
        ({"database": DATABASE}, "mlflow.database.host"),
        ({"database": {"ca": "ca.pem"}, "backups": {}}, "mlflow.backups.schedule"),
        ({"database": {"ca": "ca.pem"}, "service_type": "NodePort"}, "mlflow.service_type"),
    ],
)
def test_beside_aws(keys: dict[str, Any], at: str) -> None:
    from settings.mlflow import fault_of

    found = fault_of(Mlflow.model_validate(keys), aws=True)
    assert found is not None
    assert (found.context or {})["at"] == at


def test_beside_aws_a_database_has_its_authorities_alone() -> None:
    from settings.mlflow import fault_of

    assert fault_of(Mlflow.model_validate({"database": {"ca": "ca.pem"}}), aws=True) is None


GOOD = {"cookie_secret": "0" * 32, "htpasswd": f"ada:{HASH}\n\ngrace:{HASH}"}


@pytest.mark.parametrize(
    ("given", "start"),
    [
        (GOOD, None),
        ({}, "slipway:mlflowSignIn.cookie_secret: is not set; set it: pulumi config set --secret"),
        (GOOD | {"client_secret": "x"}, "slipway:mlflowSignIn.client_secret: is of no use here"),
        (GOOD | {"cookie_secret": "short"}, "slipway:mlflowSignIn.cookie_secret: is not 32 hex"),
        (
            GOOD | {"htpasswd": "ada:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="},
            "slipway:mlflowSignIn.htpasswd: line 1 is not a name and a hash of bcrypt",
        ),
        (
            GOOD | {"htpasswd": f"ada:{HASH}\ngrace:{HASH.replace('$10$', '$05$')}"},
            "slipway:mlflowSignIn.htpasswd: line 2 is not",
        ),
    ],
)
def test_secrets_of_a_list(given: dict[str, str], start: str | None) -> None:
    found = sign_in_secrets.faults(Mlflow.model_validate(BASIC).sign_in, given)
    assert bool(found) == (start is not None)
    for value in given.values():
        assert not any(value in line for line in found)
    if start:
        assert found[0].startswith(start)


def test_secrets_without_a_sign_in_are_of_no_use() -> None:
    (line,) = sign_in_secrets.faults(None, {"cookie_secret": "0" * 32})
    assert line.startswith("slipway:mlflowSignIn.cookie_secret: is of no use here; remove it")
    assert sign_in_secrets.faults(None, {}) == []


def test_files_of_authorities(tmp_path: Any) -> None:
    from tests.e2e.production_parts import Authority

    file = tmp_path / "ca.pem"
    made = Authority("of the tests")
    with_ca = Mlflow.model_validate({"database": DATABASE | {"ca": str(file)}})
    (line,) = mlflow_files.faults(with_ca)
    assert line == f'slipway:mlflow.database.ca: "{file}" cannot be read: No such file or directory'
    for text in ("", "nothing", made.pem.replace("MII", "MIJ")):
        file.write_text(text)
        (line,) = mlflow_files.faults(with_ca)
        assert "is no PEM of certificates" in line
    file.write_text(made.pem + made.certificate("db.example.com")["tls.key"])
    (line,) = mlflow_files.faults(with_ca)
    assert "holds a private key" in line
    file.write_text(made.pem)
    assert mlflow_files.faults(with_ca) == []
