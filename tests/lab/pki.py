"""The cluster's certificates, and a kubeconfig for each of its parts.

The lab has a certificate authority of its own: whoever talks to the API server by one of these kubeconfigs can be
sure that it is the lab's, and no other that happens to listen.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab.network import API_SERVICE, HOST
from tests.lab.shell import run

API_SERVER = f"https://{HOST}:6443"

_CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "dns": "/CN=lab-dns",
}

_API_SERVER_NAMES = (
    f"IP:{HOST},IP:{API_SERVICE},DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
    "DNS:kubernetes.default.svc.cluster.local"
)


class Authority:
    """The certificate authority of one lab, in a folder `pki` of its state."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.folder = state / "pki"
        self.certificate = self.folder / "ca.crt"
        self.service_account_key = self.folder / "service-account.key"

    def create(self) -> None:
        """Make the authority and the certificates of the control plane."""
        self.folder.mkdir(parents=True)
        # Without a configuration of our own, openssl adds whatever the machine's asks for.
        (self.folder / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
        self._create_root()
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.service_account_key)
        self.issue("server", "/CN=kube-apiserver", _API_SERVER_NAMES)
        for name, subject in _CLIENTS.items():
            self.issue(name, subject)
            self.write_kubeconfig(name)

    def issue(self, name: str, subject: str, names: str = f"IP:{HOST}") -> None:
        """Make a key and a certificate `name`, good for client and server alike."""
        issuer = ("-CA", self.certificate, "-CAkey", self.key("ca"))
        extensions = ("basicConstraints=critical,CA:FALSE", "authorityKeyIdentifier=keyid", f"subjectAltName={names}")
        self._request(name, subject, *issuer, *_added(*extensions))

    def write_kubeconfig(self, name: str) -> Path:
        """Write the kubeconfig of the holder of a certificate. JSON is YAML."""
        path = self._state / f"{name}.kubeconfig"
        cluster = {"server": API_SERVER, "certificate-authority": str(self.certificate)}
        user = {"client-certificate": str(self.crt(name)), "client-key": str(self.key(name))}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        }
        path.write_text(json.dumps(content, indent=1))
        return path

    def crt(self, name: str) -> Path:
        """The certificate of that name."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The private key of that name."""
        return self.folder / f"{name}.key"

    def _create_root(self) -> None:
        extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
        self._request("ca", "/CN=longshore-lab", *_added(*extensions))

    def _request(self, name: str, subject: str, *options: str | Path) -> None:
        run(
            *("openssl", "req", "-x509", "-config", self.folder / "openssl.cnf", "-days", "30", "-subj", subject),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", self.key(name), "-out", self.crt(name)),
            *_added("subjectKeyIdentifier=hash"),
            *options,
        )


def _added(*extensions: str) -> list[str]:
    return [word for extension in extensions for word in ("-addext", extension)]
