"""Files that an edge's rules name: a confined connector reads those that its owner allowed, and says how to allow others."""
import subprocess

import pytest
from conftest import until
from test_remote_config import Managed, config

pytestmark = pytest.mark.threads
SAYS = "the sandbox keeps this connector from it: start it with --sandbox-read and the file's directory"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What is good and may be read by its mode, and what the mode forbids."""
    where = tmp_path_factory.mktemp("files")
    for name in ("open", "loose"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                        "/CN=files.test", "-keyout", where / f"{name}.key", "-out", where / f"{name}.pem"], check=True, capture_output=True)
        (where / f"{name}.key").chmod(0o600)
    (where / "loose.key").chmod(0o644)
    return where


def rules(files, which, name="open"):
    keys = {"ca": {"originRequest": {"caPool": f"{files}/{name}.pem"}},
            "client": {"clientCertificate": {"certificate": f"{files}/{name}.pem", "key": f"{files}/{name}.key"}},
            "access": {"originRequest": {"access": {"required": True, "audTag": ["x"], "issuer": "https://issuer.test",
                                                    "caPool": f"{files}/{name}.pem"}}},
            "plain": {"originRequest": {"caPool": f"{files}/{name}.pem"}, "service": "http://localhost:1"}}
    return config({"service": "https://localhost:1", **keys[which]})


@pytest.fixture(scope="module")
def confined(tmp_path_factory):
    connector = Managed("adit", tmp_path_factory.mktemp("confined"))
    connector.program.wait_for('msg="confined"')
    if "landlock(" not in connector.program.text():
        connector.stop()
        pytest.skip("this kernel has no Landlock")
    yield connector
    connector.stop()


@pytest.mark.parametrize("which", ["ca", "client", "access", "plain"])
def test_a_file_that_the_sandbox_keeps_away_is_refused_with_what_to_do(confined, files, which):
    before = confined.program.text().count("the edge's configuration is refused")
    is_applied, err = confined.next(rules(files, which))
    assert not is_applied and SAYS in err and f"{files}/open.pem" in err, err
    log = until(lambda: [line for line in confined.program.text().splitlines() if "the edge's configuration is refused" in line][before:], "it is told")
    assert SAYS in log[0]


def test_a_file_that_is_not_there_is_no_matter_of_the_sandbox(confined, files):
    is_applied, err = confined.next(rules(files, "ca", "none"))
    assert not is_applied and "no such file or directory" in err and "sandbox" not in err, err


@pytest.mark.parametrize("flags", ["--sandbox-read", "--no-sandbox"])
def test_a_file_that_was_allowed_is_read_and_its_mode_still_counts(tmp_path, files, flags):
    connector = Managed("adit", tmp_path, flags=[flags] + ([files] if flags == "--sandbox-read" else []))
    for which in ("ca", "client", "access", "plain"):
        assert connector.next(rules(files, which)) == (True, ""), which
    is_applied, err = connector.next(rules(files, "client", "loose"))
    assert not is_applied and "chmod 600" in err and "sandbox" not in err, err
    connector.stop()
