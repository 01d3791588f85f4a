"""How to reach the API server: from the pod's service account, or from a kubeconfig.

Reads files only. The service account's address is taken from the environment, not from DNS: an operator has to work in
a cluster whose DNS does not.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from longshore.exceptions import ImproperlyConfigured

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_SECONDS = 30


@dataclass(frozen=True)
class Access:
    """An API server's address and our credentials there. `token_path` is read anew for each login: tokens rotate."""

    server: str
    namespace: str = "default"
    ca_data: bytes | None = None
    certificate: bytes | None = None
    private_key: bytes | None = None
    token: str | None = None
    token_path: Path | None = None
    insecure: bool = False

    def bearer(self) -> str | None:
        """Return the current token."""
        return self.token_path.read_text().strip() if self.token_path is not None else self.token

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings; `None` for a plain address."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca_data.decode() if self.ca_data else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.private_key:
            _load_pair(context, self.certificate, self.private_key)
        return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, private_key: bytes) -> None:
    """The standard library reads key pairs from files only."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + private_key)
        file.flush()
        context.load_cert_chain(file.name)


def find_access(kubeconfig: str | None = None) -> Access:
    """Return the access by `kubeconfig`, else KUBECONFIG, else the service account, else ``~/.kube/config``."""
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if path:
        return from_kubeconfig(Path(path.split(os.pathsep)[0]))
    if (SERVICE_ACCOUNT / "token").exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return from_service_account()
    default = Path("~/.kube/config").expanduser()
    if default.exists():
        return from_kubeconfig(default)
    raise ImproperlyConfigured("no cluster: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account")


def from_service_account(folder: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of a pod."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    ca, namespace = folder / "ca.crt", folder / "namespace"
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        ca_data=ca.read_bytes() if ca.exists() else None,
        token_path=folder / "token",
    )


def from_kubeconfig(path: Path) -> Access:
    """Return the access of a kubeconfig's current context."""
    try:
        config = yaml.safe_load(path.read_text()) or {}
        context = _named(config, "contexts", config.get("current-context"))["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
    except OSError as error:
        raise ImproperlyConfigured(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"kubeconfig {path} has no usable current context: {error}") from None
    user = {**user, **_from_exec(user)}
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        namespace=context.get("namespace", "default"),
        ca_data=_bytes_of(cluster, "certificate-authority", path.parent),
        certificate=_bytes_of(user, "client-certificate", path.parent),
        private_key=_bytes_of(user, "client-key", path.parent),
        token=user.get("token"),
        token_path=Path(user["tokenFile"]) if user.get("tokenFile") else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _named(config: Mapping[str, Any], section: str, name: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = next(
        (item for item in config.get(section) or () if item.get("name") == name), None
    )
    if found is None:
        raise KeyError(f"{section} has no {name!r}")
    return found


def _bytes_of(section: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    data, path = section.get(f"{key}-data"), section.get(key)
    if data:
        return base64.b64decode(data)
    return (folder / path).read_bytes() if path else None


def _from_exec(user: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a credential plugin once; a kubeconfig is for people's terminals, pods have service accounts."""
    plugin = user.get("exec")
    if not plugin:
        return {}
    environment = {item["name"]: item["value"] for item in plugin.get("env") or ()}
    info = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    try:
        done = subprocess.run(
            [plugin["command"], *(plugin.get("args") or ())],
            env={**os.environ, **environment, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            capture_output=True,
            check=True,
            timeout=EXEC_SECONDS,
        )
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise ImproperlyConfigured(
            f"kubeconfig's credential plugin {plugin.get('command')!r} failed: {error}"
        ) from None
    pair = {"client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
    found = {ours: base64.b64encode(status[key].encode()).decode() for ours, key in pair.items() if status.get(key)}
    return {**found, **({"token": status["token"]} if status.get("token") else {})}
