"""Both programs are confined by default, and what they have no use for fails: seen on the running programs, and by a program
that confines itself in the same way and then tries (tests/confine/probe.c)."""
import base64
import http.client
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

import pytest

from conftest import BUILD, LOOPBACK, SANITIZER, Edge, edge_flags, hostname_of, quick_command, until
from control import Api

PROBE = BUILD.parents[1] / "tests/confine/confine_probe"
NOBODY = "nobody"
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")


def probe(role, directory, attempt, argument="", user=""):
    """What the kernel said, or "SIGSYS"; and what is on."""
    done = subprocess.run([PROBE, role, directory, user, attempt, str(argument)], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    on = {key: int(value) for key, value in (pair.split("=") for pair in lines[0].split())}
    if done.returncode == -signal.SIGSYS:
        return "SIGSYS", on
    assert done.returncode == 0 and len(lines) == 2, (done.returncode, done.stdout, done.stderr)
    return lines[1], on


@pytest.fixture(scope="module")
def abilities(tmp_path_factory):
    return probe("edge", tmp_path_factory.mktemp("abilities"), "nothing")[1]


@pytest.fixture
def landlock(abilities):
    if abilities["landlock"] == 0:
        pytest.skip("this kernel has no Landlock")
    return abilities["landlock"]


@pytest.fixture
def seccomp(abilities):
    if not abilities["seccomp"]:
        pytest.skip("seccomp is not permitted here")


@pytest.fixture
def common_directory():
    """Which every user may reach; pytest's own may be entered by its maker alone."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="adit-confine-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


# ---- what fails, and what does not ----

@pytest.mark.parametrize("role", ["edge", "connector"])
@pytest.mark.parametrize("attempt, argument", [("exec", "/bin/true"), ("ptrace", ""), ("call", "321"), ("call", "310"), ("call", "272"), ("call", "165")],
                         ids=["execve", "ptrace", "bpf", "process_vm_readv", "unshare", "mount"])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_what_only_an_intruder_calls_ends_the_process(tmp_path, seccomp, role, attempt, argument):
    assert probe(role, tmp_path, attempt, argument)[0] == "SIGSYS"


@pytest.mark.parametrize("role", ["edge", "connector"])
def test_a_call_that_nobody_knows_is_told_not_to_exist(tmp_path, seccomp, role):
    assert probe(role, tmp_path, "call", 9999)[0] == "ENOSYS"


@pytest.mark.parametrize("role", ["edge", "connector"])
@pytest.mark.parametrize("attempt, argument, answer", [
    ("fork", "", "EPERM"), ("kill", 1, "ENOSYS"), ("core", "", "ENOSYS"), ("root", "", "ENOSYS"), ("code", "", "EPERM"),
    ("mprotect", "", "EPERM"), ("socket", int(socket.AF_PACKET), "EPERM"), ("raw", int(socket.AF_INET), "EPERM"), ("listen", "", "EPERM"),
])
def test_a_process_memory_that_is_code_or_a_raw_socket_cannot_be_had(tmp_path, seccomp, role, attempt, argument, answer):
    assert probe(role, tmp_path, attempt, argument)[0] == answer


def test_threads_can_be_started(tmp_path):
    assert probe("edge", tmp_path, "thread")[0] == "ok"


def test_an_edge_that_serves_opens_no_socket_and_a_connector_does(tmp_path, seccomp):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe("edge", tmp_path, "connect", port)[0] == "EPERM"
        assert probe("edge", tmp_path, "socket", int(socket.AF_INET))[0] == "EPERM"
        assert probe("connector", tmp_path, "connect", port)[0] == "ok"


def test_a_connector_binds_no_port_that_it_was_not_given(tmp_path, landlock):
    if landlock < 4:
        pytest.skip("this kernel's Landlock knows no ports")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert probe("connector", tmp_path, "bind", port)[0] == "EACCES"


def test_an_edge_writes_in_its_data_directory_alone(tmp_path, landlock):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    assert probe("edge", inside, "write", inside / "file")[0] == "ok"
    assert probe("edge", inside, "rename", inside / "file")[0] == "ok"
    assert probe("edge", inside, "write", outside / "file")[0] == "EACCES"
    assert list(outside.iterdir()) == []


def test_a_connector_writes_nowhere(tmp_path, landlock):
    assert probe("connector", tmp_path, "write", tmp_path / "file")[0] == "EACCES"


@pytest.mark.parametrize("role", ["edge", "connector"])
def test_what_names_are_resolved_with_is_read_and_what_is_nobodys_business_is_not(tmp_path, landlock, role):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    here = tmp_path / "here"
    here.mkdir()
    assert probe(role, here, "read", "/etc/hosts")[0] == "ok"
    assert probe(role, here, "read", secret)[0] == "EACCES"
    assert probe(role, here, "read", "/etc/shadow")[0] == "EACCES"
    assert probe(role, here, "list", "/")[0] == "EACCES"


@needs_root
def test_root_is_given_up_for_good_with_its_capabilities(common_directory):
    said, on = probe("edge", common_directory, "root", user=NOBODY)
    assert on["uid"] == pwd.getpwnam(NOBODY).pw_uid
    assert said in ("EPERM", "ENOSYS")
    assert common_directory.stat().st_uid == on["uid"]  # root made it, and it goes along


# ---- the running programs ----

def status(pid):
    """Of every thread."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        yield dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)


def limits_of(pid):
    return pathlib.Path(f"/proc/{pid}/limits").read_text()


def check_confined(pid, abilities, uid):
    threads = list(status(pid))
    assert len(threads) > 1
    for thread in threads:
        assert thread["NoNewPrivs"] == "1", thread
        assert thread["Seccomp"] == ("2" if abilities["seccomp"] else "0"), thread
        assert not abilities["seccomp"] or thread.get("Seccomp_filters", "3") == "3", thread
        assert thread["Uid"].split() == [str(uid)] * 4, thread
        kept = int(thread["CapPrm"], 16) | int(thread["CapEff"], 16) | int(thread["CapInh"], 16) | int(thread["CapAmb"], 16)
        assert kept & ~(1 << 1) == 0, thread  # CAP_DAC_OVERRIDE is left to a connector that stays root
        assert uid == 0 or kept == 0, thread
    assert re.search(r"Max core file size +0 +0 ", limits_of(pid))
    assert os.stat(f"/proc/{pid}/maps").st_uid == 0  # as for all who may not be dumped


def get(edge, host, path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", edge.port("http"), timeout=30)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def tls_name(edge, host):
    """The common way of a visitor over HTTPS; the hostname's certificate is issued while he waits."""
    context = ssl.create_default_context(cafile=edge.dir / "ca.pem")
    with socket.create_connection(("127.0.0.1", edge.port("https")), 30) as s, context.wrap_socket(s, server_hostname=host) as t:
        return t.version()


def test_both_programs_serve_confined_by_default(edges, connectors, abilities, origin):
    edge = edges(workers=2)
    connector = connectors(quick_command("adit", edge, origin.url))
    connector.wait_for("Registered tunnel connection")
    host = until(lambda: hostname_of(connector), "a hostname")
    for program in (edge, connector):
        assert "confined" in program.text()
        check_confined(program.process.pid, abilities, os.geteuid())
    assert get(edge, host)[0] == 200
    assert tls_name(edge, host).startswith("TLS")
    Api(edge)("POST", Api(edge).tunnels, {"name": "written"})
    assert "landlock" in edge.text() or abilities["landlock"] == 0


def test_the_sandbox_can_be_switched_off(edges, connectors, origin):
    edge = edges("--no-sandbox")
    connector = connectors([*quick_command("adit", edge, origin.url), "--sandbox", "off"])
    connector.wait_for("Registered tunnel connection")
    for program in (edge, connector):
        assert "the sandbox is off" in program.text()
        assert all(thread["Seccomp"] == "0" and thread["NoNewPrivs"] == "0" for thread in status(program.process.pid))
    assert get(edge, hostname_of(connector))[0] == 200


def test_a_sandbox_that_is_required_and_cannot_be_had_ends_the_start(tmp_path):
    """Valgrind's preloaded library stands for a system without seccomp: nothing else is made of it."""
    env = {**os.environ, **SANITIZER, "LD_PRELOAD": "/nowhere/vgpreload_core.so", "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
    flags = [BUILD / "adit-edge", "serve", "--data-dir", tmp_path / "d", *LOOPBACK]
    done = subprocess.run([*flags, "--sandbox", "required"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "--sandbox required" in done.stderr and "seccomp" in done.stderr
    wrong = subprocess.run([*flags, "--sandbox", "perhaps"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 1 and "auto, required or off" in wrong.stderr


@needs_root
def test_root_becomes_the_user_that_is_named_and_the_data_directory_goes_along(common_directory, abilities, origin):
    uid = pwd.getpwnam(NOBODY).pw_uid
    edge = Edge(common_directory, 2, [*LOOPBACK, "--user", NOBODY])
    connector = None
    try:
        check_confined(edge.process.pid, abilities, uid)
        assert {path.stat().st_uid for path in [edge.dir, *edge.dir.iterdir()]} == {uid}
        command = [*quick_command("adit", edge, origin.url), "--user", NOBODY, "--pidfile", edge.dir / "pid"]
        connector = subprocess.Popen([str(word) for word in command], stderr=open(common_directory / "log", "w"), env={**os.environ, **SANITIZER})
        log = common_directory / "log"
        until(lambda: (edge.dir / "pid").exists() or connector.poll() is not None, "the pid file")
        check_confined(connector.pid, abilities, uid)
        assert (edge.dir / "pid").read_text() == str(connector.pid)
        assert get(edge, until(lambda: re.search(r"[a-z]+-[a-z]+-[a-z]+\.localhost", log.read_text()), "a hostname").group(0))[0] == 200
    finally:
        if connector:
            connector.terminate()
            assert connector.wait(40) == 0, log.read_text()
        assert edge.stop() == 0, edge.text()
    assert not (edge.dir / "pid").exists()
    again = Edge(common_directory, 1, LOOPBACK)  # whoever owns the data directory is who is to be
    try:
        check_confined(again.process.pid, abilities, uid)
    finally:
        assert again.stop() == 0, again.text()


@needs_root
def test_a_user_who_is_not_there_or_cannot_write_is_told_before_anything_is_served(tmp_path):
    inner = tmp_path / "closed"
    inner.mkdir(mode=0o700)
    for user, words in [("no-such-user", "there is no user"), (f"{NOBODY}:no-such-group", "there is no group"), (NOBODY, "cannot write in")]:
        done = subprocess.run([BUILD / "adit-edge", "serve", "--data-dir", inner / "data", *LOOPBACK, "--user", user], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and words in done.stderr, done.stderr


def test_only_root_becomes_another_user(common_directory):
    words = [BUILD / "adit-edge", "serve", "--data-dir", common_directory / "data", *LOOPBACK, "--user", "root"]
    if IS_ROOT:
        words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *words]
        common_directory.chmod(0o777)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "only root may become another user" in done.stderr, done.stderr


# ---- files ----

@pytest.mark.parametrize("name, mode", [("", 0o770), ("adit.db", 0o640), ("ca.key", 0o604), ("quic.secret", 0o660), ("seal.key", 0o644)])
def test_a_data_directory_that_others_may_write_or_read_secrets_in_is_refused(edges, name, mode):
    edge = edges()
    assert edge.stop() == 0
    (edge.dir / name).chmod(mode)
    done = subprocess.run([BUILD / "adit-edge", "serve", "--data-dir", edge.dir, *LOOPBACK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "chmod" in done.stderr and str(edge.dir / name) in done.stderr


# ---- the process list ----

def arguments(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]


@pytest.mark.parametrize("form", ["two words", "one word", "environment"])
def test_a_token_is_not_shown_to_who_lists_processes(edges, connectors, form):
    edge = edges()
    api = Api(edge)
    token = api("POST", api.tunnels, {"name": "hidden"}).result["token"]
    flags = {"two words": ["--token", token], "one word": [f"--token={token}"], "environment": []}[form]
    env = {"TUNNEL_TOKEN": token} if form == "environment" else {}
    command = [BUILD / "adit", "tunnel", *edge_flags(edge, 1), "--metrics", "127.0.0.1:0", "--grace-period", "1s", "run", *flags, "--hello-world"]
    connector = connectors(command, env=env)
    connector.wait_for("Registered tunnel connection")
    words = arguments(connector.process.pid)
    assert words[0].endswith(b"adit") and words[-1] == b"--hello-world" and b"run" in words
    assert not any(token[:16].encode() in word for word in words)
    if IS_ROOT:
        assert token[:16].encode() not in pathlib.Path(f"/proc/{connector.process.pid}/environ").read_bytes()


# ---- secrets in memory ----

def memory_of(pid):
    """Every page that the process may write to, freed ones included; the sanitizers' vast tables are left out."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if line.split()[1].startswith("rw") and end - start < 1 << 28:
                try:
                    memory.seek(start)
                    yield memory.read(end - start)
                except OSError:
                    pass  # gone meanwhile


def is_in_memory(pid, *forms):
    return any(form in piece for piece in memory_of(pid) for form in forms)


@pytest.mark.skipif(not IS_ROOT, reason="only root looks into a process that may not be dumped")
def test_a_tunnels_secret_is_not_left_in_the_edges_memory(edges):
    edge = edges()
    api = Api(edge)
    secret = bytes(random.randbytes(32))
    text = base64.b64encode(secret)
    made = api("POST", api.tunnels, {"name": "secret", "tunnel_secret": text.decode()}).result
    assert api("GET", f"{api.tunnels}/{made['id']}/token").result == made["token"]
    # Their later parts: an allocator writes into the first bytes of what is free. The answer may be out before its last copy is
    # wiped.
    until(lambda: not is_in_memory(edge.process.pid, secret[16:], text[24:], made["token"].encode()[-40:]), "the secret is gone", 10)
    assert is_in_memory(edge.process.pid, made["id"].encode())  # or the search would prove nothing
