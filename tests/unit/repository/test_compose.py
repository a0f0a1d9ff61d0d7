"""What is deployed agrees with the code: services, ports, variables, roles, images, metrics and alerts."""

import ast
import importlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.metrics import MetricWrapperBase

from local.ports import APIS, SERVICES
from pes.units import MEBIBYTE
from services.signature.api import BODY_BYTES_MAX
from shared import metrics
from shared.facts.recorders import SERVICES_THAT_CONSUME
from shared.journal.grants import SERVICES_WITH_A_LOGIN, login_of
from shared.runtime.settings import HttpSettings
from shared.web.openapi import nginx_map
from tests.applications import documents

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
CONTAINERS: Mapping[str, Any] = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
OURS = ("pes", "signing", "shared", "services", "agent", "local", "cli")
IMAGES = (*SERVICES, "cli")
# Docker's own form: ${NAME:?why it is needed}, ${NAME:-default}.
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?:(:\?|:-)([^}]*))?\}")
EXAMPLE = dict(
    line.split("=", 1) for line in (ROOT / ".env.example").read_text("utf-8").splitlines() if re.match("[A-Z]", line)
)
SECRET_NAME = re.compile(r"PASSWORD|SECRET|ACCESS_KEY")


def settings_of(service: str) -> type[HttpSettings]:
    settings: type[HttpSettings] = importlib.import_module(f"services.{service}.settings").Settings
    return settings


def filled(value: object) -> str:
    """Return a value of the file as Docker would, with stand-ins for what only .env says."""

    def fill(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        return rest if kind == ":-" else EXAMPLE.get(name) or "filled"

    return VARIABLE.sub(fill, str(value))


def environment_of(service: str) -> dict[str, str]:
    return {name: filled(value) for name, value in CONTAINERS[service]["environment"].items()}


def variables() -> set[str]:
    return {found[1] for found in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text("utf-8"))}


# --- Services ---------------------------------------------------------------------------------------------------


def test_every_service_has_a_container_of_its_own_image() -> None:
    for service in SERVICES:
        container = CONTAINERS[service]
        assert container["image"] == f"heliotrope-{service}"
        assert container["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile", "args": {"SERVICE": service}}
        assert container["command"] == [f"services.{service}"]


def test_the_simulator_runs_only_when_it_is_asked_for() -> None:
    assert [name for name, container in CONTAINERS.items() if "profiles" in container] == ["simulator"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_given_every_setting_that_is_required_and_none_that_is_unknown(service: str) -> None:
    fields = settings_of(service).model_fields
    given = environment_of(service)
    required = {name.upper() for name, field in fields.items() if field.is_required()}
    assert required <= given.keys()
    assert given.keys() <= {name.upper() for name in fields}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_s_settings_are_accepted(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for name in settings_of(service).model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment_of(service).items():
        monkeypatch.setenv(name, str(tmp_path / "file") if value and name.endswith("_FILE") else value)
        if name == "TRUST_FOLDER":
            monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("SFTP_PASSWORD", "filled")
    settings = settings_of(service)()
    assert settings.http_host == "0.0.0.0"  # noqa: S104  # inside its container
    if service != "simulator":
        assert getattr(settings, "bus") == "kafka"  # noqa: B009
        assert getattr(settings, "documents_url") == "s3://heliotrope"  # noqa: B009


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_listens_on_the_port_that_its_settings_name(service: str) -> None:
    container = CONTAINERS[service]
    port = settings_of(service).model_fields["http_port"].default
    assert container["environment"]["HTTP_PORT"] == port
    assert "ports" not in container  # only the proxy is reached from outside, so any number of each can run


def test_every_service_but_the_simulator_has_a_login() -> None:
    assert set(SERVICES_WITH_A_LOGIN) == set(SERVICES) - {"simulator"}


@pytest.mark.parametrize("service", SERVICES_WITH_A_LOGIN)
def test_a_service_connects_as_itself_with_a_password_of_its_own(service: str) -> None:
    password = f"${{{service.upper()}_DB_PASSWORD:?password of {service}}}"
    url = CONTAINERS[service]["environment"]["DATABASE_URL"]
    assert url == f"postgresql://{login_of(service)}:{password}@postgres/heliotrope"
    assert CONTAINERS["postgres"]["environment"][f"{service.upper()}_DB_PASSWORD"] == password


def test_the_schema_and_the_topics_are_there_before_any_service() -> None:
    for service in SERVICES:
        if service != "simulator":
            waits = CONTAINERS[service]["depends_on"]
            assert waits["migrate"] == waits["topics"] == {"condition": "service_completed_successfully"}
    cli = {"context": ".", "dockerfile": "deploy/Dockerfile", "args": {"SERVICE": "cli"}}
    assert CONTAINERS["migrate"]["build"] == CONTAINERS["topics"]["build"] == cli
    assert CONTAINERS["migrate"]["command"] == ["cli.main", "db", "migrate"]
    assert CONTAINERS["topics"]["command"] == ["cli.main", "topics", "create", "--replication", "1"]
    assert "heliotrope_owner:" in CONTAINERS["migrate"]["environment"]["DATABASE_URL"]
    assert CONTAINERS["postgres"]["environment"]["POSTGRES_USER"] == "heliotrope_owner"


def test_nothing_waits_for_a_container_that_is_not_there() -> None:
    for container in CONTAINERS.values():
        assert set(container.get("depends_on", {})) <= set(CONTAINERS)


def test_the_simulator_listens_under_the_name_that_its_clients_use() -> None:
    simulator = environment_of("simulator")
    assert simulator["SFTP_HOST"] == CONTAINERS["simulator"]["hostname"] == EXAMPLE["SFTP_HOST"]
    assert simulator["SFTP_PORT"] == EXAMPLE["SFTP_PORT"]
    assert EXAMPLE["DGFIP_FOLDER"] in COMPOSE["volumes"]


def test_nothing_decides_by_itself_to_send_again_to_dgfip() -> None:
    assert CONTAINERS["gateway"]["environment"]["IN_DOUBT_POLICY"] == "hold"


# --- Safety -----------------------------------------------------------------------------------------------------


def test_the_example_has_every_variable_and_no_other() -> None:
    assert set(EXAMPLE) == variables()


def test_no_secret_has_a_value_in_the_example_or_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    for name, value in EXAMPLE.items():
        if SECRET_NAME.search(name):
            assert value == ""
            defaults = {rest for found, kind, rest in VARIABLE.findall(text) if found == name and kind == ":-"}
            assert defaults <= {""}


def test_a_password_is_never_written_in_the_file() -> None:
    for name, container in CONTAINERS.items():
        for variable, value in container.get("environment", {}).items():
            if SECRET_NAME.search(variable):
                assert VARIABLE.fullmatch(str(value)), f"{name}: {variable}"
            for password in re.findall(r"://\w+:(.*?)@", str(value)):
                assert VARIABLE.fullmatch(password), f"{name}: {variable}"


def test_ports_are_published_on_the_loopback_interface_only() -> None:
    published = [filled(port) for container in CONTAINERS.values() for port in container.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


# --- The proxy ---------------------------------------------------------------------------------------------------


def test_the_proxy_knows_who_answers_what() -> None:
    assert (DEPLOY / "proxy" / "routes.map").read_text("utf-8") == nginx_map(documents())


def test_the_proxy_knows_where_every_service_with_an_api_is() -> None:
    said = re.findall(
        r"^upstream (\w+) \{ server ([\w:]+);", (DEPLOY / "proxy" / "upstreams.conf").read_text(), re.MULTILINE
    )
    assert dict(said) == {name: f"{name}:{environment_of(name)['HTTP_PORT']}" for name in APIS}
    assert set(CONTAINERS["proxy"]["depends_on"]) == set(APIS)


def test_the_proxy_takes_as_much_as_the_services_do() -> None:
    text = (DEPLOY / "proxy" / "nginx.conf").read_text("utf-8")
    taken = {
        path: int(size) * MEBIBYTE for path, size in re.findall(r"location (?:= )?(\S+) \{[^}]*?size (\d+)m;", text)
    }
    imports, checks = settings_of("ingest").model_fields, settings_of("validation").model_fields
    assert taken["/v1/flux"] > imports["file_bytes_max"].default * imports["files_max"].default
    assert taken["/v1/checks"] > checks["file_bytes_max"].default * checks["files_max"].default
    assert taken["/v1/"] > BODY_BYTES_MAX


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_no_privilege_and_writes_in_its_volumes_only(name: str) -> None:
    container = CONTAINERS[name]
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container.get("read_only", False) is (name != "kafka")  # its image writes its configuration
    assert "privileged" not in container


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_that_stays_is_restarted_and_says_how_it_is(name: str) -> None:
    container = CONTAINERS[name]
    stays = name not in ("migrate", "topics")
    assert container["restart"] == ("unless-stopped" if stays else "no")
    assert ("healthcheck" in container) is stays


def test_published_images_are_pinned_to_a_version() -> None:
    for container in CONTAINERS.values():
        image, _, tag = container["image"].partition(":")
        assert image.startswith("heliotrope-") or re.match(r"v?\d+", tag)


def test_every_file_that_is_mounted_is_in_the_repository_and_every_volume_is_declared() -> None:
    for container in CONTAINERS.values():
        for volume in container.get("volumes", []):
            source = filled(volume).split(":")[0]
            if source.startswith("./deploy/"):
                assert (ROOT / source).exists()
            elif not source.startswith((".", "/")):
                assert source in COMPOSE["volumes"]


def test_the_store_and_its_clients_agree() -> None:
    garage = tomllib.loads((DEPLOY / "garage/garage.toml").read_text("utf-8"))
    client = environment_of("ingest")
    assert garage["s3_api"]["s3_region"] == client["S3_REGION"]
    assert client["S3_ENDPOINT"].rpartition(":")[2] == garage["s3_api"]["api_bind_addr"].rpartition(":")[2]
    store = CONTAINERS["store"]["environment"]
    assert client["DOCUMENTS_URL"] == f"s3://{store['GARAGE_DEFAULT_BUCKET']}"
    for ours, theirs in (
        ("S3_ACCESS_KEY", "GARAGE_DEFAULT_ACCESS_KEY"),
        ("S3_SECRET_KEY", "GARAGE_DEFAULT_SECRET_KEY"),
    ):
        assert CONTAINERS["ingest"]["environment"][ours] == store[theirs]
    assert any(volume.endswith(":/var/lib/garage") for volume in CONTAINERS["store"]["volumes"])
    assert all(garage[name].startswith("/var/lib/garage/") for name in ("metadata_dir", "data_dir"))


def test_the_broker_is_the_one_that_tests_run() -> None:
    pom = (DEPLOY / "kafka/pom.xml").read_text("utf-8")
    pinned = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>(.*?)</", pom)
    assert pinned is not None
    assert CONTAINERS["kafka"]["image"] == f"apache/kafka:{pinned[1]}"
    assert CONTAINERS["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


# --- Images -----------------------------------------------------------------------------------------------------


def test_the_image_installs_checked_wheels_only_and_runs_as_nobody_special() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--no-index --find-links /wheels" in DOCKERFILE
    assert '"/src[$SERVICE]"' in DOCKERFILE
    assert DOCKERFILE.rindex("USER 10001:10001") > DOCKERFILE.rindex("FROM ")


def test_an_image_copies_what_the_builder_is_given() -> None:
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE))
    assert {name for group in copied for name in group.split()} == given
    assert all((ROOT / name).exists() for name in given)


def test_there_is_an_extra_for_every_image_and_for_nothing_else_but_development() -> None:
    assert set(PROJECT["optional-dependencies"]) == {*IMAGES, "dev"}


@cache
def brought_by(image: str) -> frozenset[str]:
    """Return every distribution that the base and one extra install."""
    todo = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][image])]
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        applies = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if not applies or (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for text in distribution(name).requires or ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                inner.marker = None
                todo.append(inner)
    return frozenset(found)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outside(image: str) -> set[str]:
    """Return the top-level modules that are not ours and that an image imports, through whatever of ours."""
    start = "cli" if image == "cli" else f"services/{image}"
    todo = list((ROOT / start).rglob("*.py"))
    seen: set[Path] = set()
    found: set[str] = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in imports_of(path):
            ours = ROOT / module.replace(".", "/")
            if ours.with_suffix(".py").is_file():
                todo.append(ours.with_suffix(".py"))
            elif module.split(".")[0] not in OURS:
                found.add(module.split(".")[0])
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_everything_that_its_service_imports(image: str) -> None:
    known = packages_distributions()
    for module in outside(image) & known.keys():
        brought = {canonicalize_name(name) for name in known[module]}
        assert brought & brought_by(image), f"{image} imports {module}, which its extra does not bring"


# --- Metrics ----------------------------------------------------------------------------------------------------


def metric_names() -> set[str]:
    declared = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    names: set[str] = set()
    for metric in declared:
        for family in metric.describe():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            names |= {family.name + suffix for suffix in suffixes}
    return names


def named_in(expression: str) -> set[str]:
    return set(re.findall(r"heliotrope_\w+", expression))


def alerts() -> list[Mapping[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[Mapping[str, Any]]:
    board = json.loads((DEPLOY / "grafana/dashboards/heliotrope.json").read_text("utf-8"))
    shown: list[Mapping[str, Any]] = board["panels"]
    return shown


def test_every_service_is_scraped_where_it_listens() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))["scrape_configs"]
    targets = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs}
    assert set(targets) == set(SERVICES) - {"simulator"}
    for service, target in targets.items():
        assert target["names"] == [service]
        assert target["port"] == CONTAINERS[service]["environment"]["HTTP_PORT"]


def test_an_alert_speaks_of_metrics_that_exist_and_says_so_in_french() -> None:
    for alert in alerts():
        assert named_in(alert["expr"]) <= metric_names(), alert["alert"]
        assert alert["annotations"]["summary"].endswith(".")
        assert alert["labels"]["severity"] in ("page", "ticket")


def test_an_alert_looks_for_reasons_and_outcomes_that_the_code_gives() -> None:
    code = "".join(
        path.read_text("utf-8") for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")
    )
    named = [found for alert in alerts() for found in re.findall(r'(?:reason|outcome)=~?"([^"]+)"', alert["expr"])]
    assert named
    for value in "|".join(named).split("|"):
        assert f'"{value}"' in code, value


def test_what_an_operator_must_know_of_at_once_has_an_alert() -> None:
    watched = {name for alert in alerts() for name in named_in(alert["expr"])}
    assert {
        "heliotrope_retrying",
        "heliotrope_parked_total",
        "heliotrope_unordered_seconds",
        "heliotrope_held",
    } <= watched
    assert {"heliotrope_last_collection_timestamp_seconds", "heliotrope_refused_total"} <= watched


def test_the_absence_of_any_service_is_an_alert() -> None:
    (absent,) = [alert for alert in alerts() if alert["alert"] == "ServiceAbsent"]
    assert set(re.findall(r'job="(\w+)"', absent["expr"])) == set(SERVICES) - {"simulator"}


def test_the_dashboard_shows_metrics_that_exist_and_every_one_of_them() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in named_in(target["expr"])}
    assert shown <= metric_names()
    families = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in metric_names()}
    assert families <= {name.removesuffix("_bucket") for name in shown}


def test_the_dashboard_asks_the_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8"))
    (source,) = sources["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]} == {source["uid"]}
    boards = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/heliotrope.yml").read_text("utf-8"))
    folder = boards["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in CONTAINERS["grafana"]["volumes"]


def test_what_consumes_has_a_topic_to_park_in() -> None:
    consuming = {
        service
        for service in SERVICES
        if "Subscription(" in (ROOT / f"services/{service}/__main__.py").read_text("utf-8")
    }
    assert consuming == set(SERVICES_THAT_CONSUME)


def test_nothing_in_deploy_is_unused() -> None:
    used = {
        "Dockerfile", "kafka/pom.xml", "kafka/README.md", "postgres/roles.sh", "garage/garage.toml",
        "prometheus/prometheus.yml", "prometheus/alerts.yml", "grafana/dashboards/heliotrope.json",
        "grafana/provisioning/datasources/prometheus.yml", "grafana/provisioning/dashboards/heliotrope.yml",
        "proxy/nginx.conf", "proxy/upstreams.conf", "proxy/certificate.conf", "proxy/ask.conf", "proxy/routes.map",
    }  # fmt: skip
    assert {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()} == used
