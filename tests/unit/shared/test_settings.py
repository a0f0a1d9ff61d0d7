"""Every service starts only with all it needs, and names what is missing; no secret is ever shown."""

import importlib
import inspect
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.ports import SERVICES
from shared.logs import JsonFormatter
from shared.runtime.service import EXIT_BAD_SETTINGS, read_settings
from shared.runtime.settings import HttpSettings, ServiceSettings
from shared.runtime.sftp import SftpSettings

GOOD = {
    "DATABASE_URL": "postgresql://heliotrope_ingest:hidden@db/heliotrope",
    "DOCUMENTS_URL": "file:///var/lib/heliotrope",
    "SFTP_HOST": "sftp.example",
    "SFTP_LOGIN": "heliotrope",
    "SFTP_PASSWORD": "hidden",
}


def settings_of(service: str) -> type[HttpSettings]:
    settings: type[HttpSettings] = importlib.import_module(f"services.{service}.settings").Settings
    return settings


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Give the logs back to pytest: a service that starts sets up its own."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if isinstance(one.formatter, JsonFormatter)]:
        root.removeHandler(handler)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for service in SERVICES:
        for name in settings_of(service).model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "known_hosts").touch()
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    paths = {
        "JWKS_FILE": tmp_path / "jwks.json",
        "KNOWN_HOSTS_FILE": tmp_path / "known_hosts",
        "SIMULATOR_FOLDER": tmp_path,
        "TRUST_FOLDER": tmp_path,
    }
    for name, value in {**GOOD, **paths}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_its_settings_and_hides_its_secrets(service: str) -> None:
    settings = read_settings(settings_of(service), service)
    assert "hidden" not in repr(settings)
    assert settings.http_host == "127.0.0.1"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_every_setting_that_is_missing(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(service)
    required = [name.upper() for name, field in settings.model_fields.items() if field.is_required()]
    for name in required:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as stopped:
        read_settings(settings, service)
    assert stopped.value.code == EXIT_BAD_SETTINGS
    said = capsys.readouterr().err
    assert all(f"{service}: setting {name}:" in said for name in required)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "0"),
        ("HTTP_PORT", "http"),
        ("DOCUMENTS_URL", "ftp://x"),
        ("BUS", "rabbit"),
        ("LOG_LEVEL", "x"),
        ("OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_a_setting_out_of_bounds_stops_the_start_and_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        read_settings(settings_of("ingest"), "ingest")
    assert f"setting {name}:" in capsys.readouterr().err


def test_a_secret_that_is_wrong_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCUMENTS_URL", "https://user:hidden@x")
    with pytest.raises(SystemExit):
        read_settings(settings_of("ingest"), "ingest")
    assert "hidden" not in capsys.readouterr().err


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_REGION", "")
    settings = read_settings(settings_of("ingest"), "ingest")
    assert isinstance(settings, ServiceSettings)
    assert settings.s3_region == "us-east-1"


SETTINGS = [HttpSettings, ServiceSettings, SftpSettings, *map(settings_of, SERVICES)]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__module__)
def test_each_setting_is_explained_where_it_is_defined(settings: type[HttpSettings]) -> None:
    explained = set(re.findall(r"^ {8}(\w+): ", settings.__doc__ or "", re.MULTILINE))
    assert explained >= own_fields(settings)


def own_fields(settings: type[HttpSettings]) -> set[str]:
    """Return what a class defines itself; a port is its service's own, but explained once for all."""
    fields = settings.model_fields.keys() & inspect.get_annotations(settings).keys()
    return fields if settings is HttpSettings else fields - {"http_port"}


@pytest.mark.parametrize("name", ["JWKS_FILE", "SEAL_KEY_FILE", "SEAL_CERTIFICATE_FILE"])
def test_a_file_that_is_not_there_stops_the_start_and_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "absent"))
    with pytest.raises(SystemExit) as stopped:
        read_settings(settings_of("signature"), "signature")
    assert stopped.value.code == EXIT_BAD_SETTINGS
    assert f"signature: setting {name}:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "missing"),
    [("SEAL_KEY_FILE", "SEAL_CERTIFICATE_FILE"), ("SEAL_CERTIFICATE_FILE", "SEAL_KEY_FILE")],
)
def test_half_a_seal_stops_the_start_and_the_other_half_is_named(
    given: str,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "half.pem").touch()
    monkeypatch.setenv(given, str(tmp_path / "half.pem"))
    with pytest.raises(SystemExit) as stopped:
        read_settings(settings_of("signature"), "signature")
    assert stopped.value.code == EXIT_BAD_SETTINGS
    said = capsys.readouterr().err
    assert missing in said
    assert given not in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SEAL_PKCS11_TOKEN": "cachet"}, "set SEAL_PKCS11_MODULE too"),
        ({"SEAL_PKCS11_MODULE": "file", "SEAL_PKCS11_TOKEN": "cachet"}, "set SEAL_PKCS11_PIN_FILE too"),
        ({"SEAL_COLLECTIVITES": "*"}, "there is no seal"),
        ({"SEAL_COLLECTIVITES": "12"}, "SEAL_COLLECTIVITES"),
        (
            dict.fromkeys(
                (
                    "SEAL_KEY_FILE",
                    "SEAL_CERTIFICATE_FILE",
                    "SEAL_PKCS11_MODULE",
                    "SEAL_PKCS11_TOKEN",
                    "SEAL_PKCS11_PIN_FILE",
                ),
                "file",
            ),
            "not in both",
        ),
        ({"TRUST_FOLDER": "nowhere"}, "TRUST_FOLDER"),
        ({"REVOCATION_PROOF": "ignore"}, "REVOCATION_PROOF"),
    ],
)
def test_a_seal_or_a_trust_list_that_cannot_be_stops_the_start(
    given: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    for name, value in given.items():
        monkeypatch.setenv(name, str(tmp_path / value) if value in ("file", "nowhere") else value)
    with pytest.raises(SystemExit) as stopped:
        read_settings(settings_of("signature"), "signature")
    assert stopped.value.code == EXIT_BAD_SETTINGS
    assert said in capsys.readouterr().err


def test_ports_by_default_are_each_service_s_own() -> None:
    ports = [settings_of(service).model_fields["http_port"].default for service in SERVICES]
    assert len(set(ports)) == len(SERVICES)
