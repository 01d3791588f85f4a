"""How the operator finds its cluster, and what it says when it does not."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from longshore.exceptions import ImproperlyConfigured
from longshore_operator.cli.main import cli
from longshore_operator.cli.run import read_brokers
from longshore_operator.kube.access import find_access, from_kubeconfig, from_service_account


def kubeconfig(folder: Path, **user: Any) -> Path:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ops"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / "ca.crt").write_text("the authority")
    file = folder / "config"
    file.write_text(json.dumps(config))
    return file


def test_a_kubeconfig_with_relative_paths_and_embedded_data(tmp_path: Path) -> None:
    data = base64.b64encode(b"cert").decode()
    user = {"token": "t", "client-certificate-data": data, "client-key-data": data}
    access = from_kubeconfig(kubeconfig(tmp_path, **user))
    assert (access.server, access.namespace, access.ca_data) == ("https://10.0.0.1:6443", "ops", b"the authority")
    assert (access.bearer(), access.certificate, access.private_key) == ("t", b"cert", b"cert")


def test_a_credential_plugin_is_asked(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text('#!/bin/sh\nprintf \'{"status": {"token": "%s"}}\' "$WHO"\n')
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    command = {"command": str(plugin), "env": [{"name": "WHO", "value": "me"}]}
    assert from_kubeconfig(kubeconfig(tmp_path, exec=command)).bearer() == "me"


def test_a_service_account_is_reached_without_dns_and_its_token_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "namespace").write_text("ops")
    access = from_service_account(tmp_path)
    assert (access.server, access.namespace, access.bearer()) == ("https://10.96.0.1:443", "ops", "one")
    (tmp_path / "token").write_text("two\n")
    assert access.bearer() == "two"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "no usable current context"),
        ("[1]", "no usable current context"),
        ("{{", "no usable current context"),
        ('{"current-context": "x", "contexts": []}', "has no 'x'"),
    ],
)
def test_a_broken_kubeconfig_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ImproperlyConfigured, match=words) as caught:
        from_kubeconfig(file)
    assert str(file) in str(caught.value)


def test_no_cluster_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ImproperlyConfigured, match="--kubeconfig"):
        find_access()
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        find_access(str(tmp_path / "nowhere"))


def test_named_brokers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "brokers.yaml"
    file.write_text(
        "default: {secret: {name: broker, key: address}, allowedNamespaces: [shop]}\nopen: {url: 'redis://r/0'}\n"
    )
    brokers = read_brokers(file)
    default, free = brokers["default"], brokers["open"]
    assert (default.secret, default.key, default.allows("shop"), default.allows("x")) == (
        "broker", "address", True, False,
    )  # fmt: skip
    assert (free.url, free.allows("x")) == ("redis://r/0", True)


@pytest.mark.parametrize("text", ["- a", "a: {}", "a: {url: x, secret: {name: y}}", "a: text", "{{"])
def test_a_wrong_brokers_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "brokers.yaml"
    file.write_text(text)
    with pytest.raises(ImproperlyConfigured, match=r"broker"):
        read_brokers(file)


def test_help_explains_every_option_with_its_default() -> None:
    text = " ".join(CliRunner().invoke(cli, ["run", "--help"]).output.split())
    for option in ("--namespace", "--brokers", "--kubeconfig", "--lease-name", "--http-port", "--log-level"):
        assert option in text
    assert "[default: longshore-operator]" in text
    assert {"run", "crds"} <= set(CliRunner().invoke(cli, ["--help"]).output.split())
