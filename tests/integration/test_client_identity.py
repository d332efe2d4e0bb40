"""A client certificate that is replaced while the connector runs, confined as it is by default: the real nginx says which one it saw."""
import os
import subprocess

import pytest
from client import get
from conftest import until
from ruled import Nginx, Ruled

RULES = """
ingress:
  - hostname: HOST
    path: ^/first
    service: https://localhost:MUTUAL
    clientCertificate: {certificate: DIR/client.pem, key: DIR/client-key.pem}
    originRequest: {caPool: DIR/ca.pem, keepAliveConnections: -1}
  - hostname: HOST
    service: https://localhost:MUTUAL
    clientCertificate: {certificate: DIR/client.pem, key: DIR/client-key.pem}
    originRequest: {caPool: DIR/ca.pem}
  - service: http_status:404
"""


@pytest.fixture
def site(tmp_path):
    nginx = Nginx(tmp_path)
    where = tmp_path / "connector"
    where.mkdir()
    site = Ruled(where, RULES.replace("DIR", str(tmp_path)).replace("MUTUAL", str(nginx.ports["mutual"])), env={"ADIT_WORKERS": "2"}, connections=2)
    yield site
    site.stop()
    nginx.stop()


def another(where, name):
    """A certificate beside the one that is in use, and its key; of the same authority."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=where)

    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}-key.pem", "-subj", f"/CN={name}.test", "-out",
            f"{name}.csr")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "30", "-out", f"{name}.pem")
    os.chmod(where / f"{name}-key.pem", 0o600)


def seen(site, path="/first"):
    head, body = get(site, path)
    assert head.status_code == 200, (head, body)
    return body.decode().split()[-1]


def test_a_certificate_that_is_replaced_is_shown_once_its_key_is_there(site, tmp_path):
    assert seen(site) == seen(site, "/kept") == "CN=client.test"
    another(tmp_path, "other")
    os.rename(tmp_path / "other.pem", tmp_path / "client.pem")

    def is_told():
        assert seen(site) == "CN=client.test"  # as long as they do not fit together
        return "a client certificate has changed and cannot be used" in site.connector.text()

    until(is_told, "the half of it is told")
    os.rename(tmp_path / "other-key.pem", tmp_path / "client-key.pem")
    until(lambda: seen(site) == "CN=other.test", "the new one is shown")
    # A rule with the same files shares it; what it had kept alive was made with the old one.
    assert seen(site, "/kept") == "CN=other.test"
    # Every worker has it.
    assert {seen(site) for _ in range(8)} == {"CN=other.test"}
    os.unlink(tmp_path / "client.pem")
    count = site.connector.text().count("cannot be used")

    def is_told_again():
        assert seen(site) == "CN=other.test"
        return site.connector.text().count("cannot be used") > count

    until(is_told_again, "that it is gone is told")
